//! The names of functions that a guest brings along, as far as they may cost something.
//!
//! Of each trap wasmtime copies the names of the innermost functions. A name section can hold names of many
//! megabytes: one of 20 MB made a single trap cost seconds and hundreds of megabytes.

use std::borrow::Cow;

use wasmparser::{KnownCustom, Name, Parser, Payload};

use crate::limits::FUNCTION_NAME_BYTES;

/// The component without the names of modules that have one which is too long. Their functions are then told
/// by number.
pub(super) fn without_long(component: &[u8]) -> Cow<'_, [u8]> {
    let mut kept = Cow::Borrowed(component);
    // A component that cannot be read to its end is refused by the compiler, and never traps.
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        if let Payload::CustomSection(section) = payload
            && let KnownCustom::Name(names) = section.as_known()
            && names.into_iter().map_while(Result::ok).any(|names| has_long(&names))
        {
            // A section of a name that nobody knows is skipped. Nothing else in the component moves.
            kept.to_mut()[section.data_offset() - 1] = b'_';
        }
    }
    kept
}

fn has_long(names: &Name<'_>) -> bool {
    match names {
        Name::Module { name, .. } => name.len() > FUNCTION_NAME_BYTES,
        Name::Function(names) => {
            names.clone().into_iter().map_while(Result::ok).any(|naming| naming.name.len() > FUNCTION_NAME_BYTES)
        }
        // Nobody reads the others.
        _ => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A number as WebAssembly has it.
    pub(in crate::sandbox) fn leb(mut number: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let low = (number & 0x7f) as u8;
            number >>= 7;
            if number == 0 {
                bytes.push(low);
                return bytes;
            }
            bytes.push(low | 0x80);
        }
    }

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id], leb(content.len()).as_slice(), content].concat()
    }

    /// A component with a component in it, and in that a module whose only function has a name.
    fn component(name: &str) -> Vec<u8> {
        let named = [&[1, 0], leb(name.len()).as_slice(), name.as_bytes()].concat();
        let names = [&[4], b"name".as_slice(), &section(1, &named)].concat();
        let module = [
            b"\0asm\x01\0\0\0".as_slice(),
            &section(1, &[1, 0x60, 0, 0]),
            &section(3, &[1, 0]),
            &section(10, &[1, 2, 0, 0x0b]),
            &section(0, &names),
        ]
        .concat();
        let inner = [b"\0asm\x0d\0\x01\0".as_slice(), &section(1, &module)].concat();
        [b"\0asm\x0d\0\x01\0".as_slice(), &section(4, &inner)].concat()
    }

    fn names(component: &[u8]) -> usize {
        let payloads = Parser::new(0).parse_all(component).map(|payload| payload.expect("it is well-formed"));
        let sections = payloads.filter_map(|payload| match payload {
            Payload::CustomSection(section) => Some(section),
            _ => None,
        });
        sections.filter(|section| matches!(section.as_known(), KnownCustom::Name(_))).count()
    }

    #[test]
    fn ordinary_names_stay_and_long_ones_are_not_read() {
        for (length, left) in [(0, 1), (300, 1), (FUNCTION_NAME_BYTES, 1), (FUNCTION_NAME_BYTES + 1, 0), (20 << 20, 0)]
        {
            let component = component(&"a".repeat(length));
            assert_eq!(names(&component), 1);
            let kept = without_long(&component);
            assert_eq!((kept.len(), names(&kept)), (component.len(), left), "a name of {length} bytes");
        }
    }

    #[test]
    fn what_is_not_a_component_is_left_to_the_compiler() {
        let whole = component(&"a".repeat(FUNCTION_NAME_BYTES + 1));
        for cut in 0..100 {
            let part = &whole[..cut];
            assert_eq!(without_long(part), part);
        }
    }
}
