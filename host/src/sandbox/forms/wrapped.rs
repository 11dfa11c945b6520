//! Guests made of a few instructions: core modules with the functions of the contract, in the component of the
//! built-in guest, which is the same around any of them.

use std::sync::Arc;

use super::limits;
use crate::sandbox::guest::Guest;
use crate::sandbox::names::tests::leb;
use crate::sandbox::unbundle::core_module;

/// The instructions of each function, without the end. Index 0 is the function that makes handles, 1 the one that
/// drops them.
pub(super) struct Bodies<'a> {
    pub(super) realloc: &'a [u8],
    pub(super) constructor: &'a [u8],
    pub(super) advance: &'a [u8],
    pub(super) returned: &'a [u8],
}

/// Bytes of memory of such a guest.
pub(super) const MEMORY: u32 = 128 << 10;

/// Where everything that is allocated lies, for what it is worth.
pub(super) const HEAP: u32 = 1_024;

impl Default for Bodies<'_> {
    /// A guest whose every allocation is at `HEAP`, and which returns the address that it finds there: bytes that it
    /// receives are its answer.
    fn default() -> Self {
        Self {
            // i32.const HEAP
            realloc: &[0x41, 0x80, 0x08],
            // i32.const 8, call 0
            constructor: &[0x41, 8, 0x10, 0],
            // i32.const HEAP, i32.load
            advance: &[0x41, 0x80, 0x08, 0x28, 2, 0],
            returned: &[],
        }
    }
}

impl Bodies<'_> {
    /// A guest of these functions.
    pub(super) fn guest(&self) -> Arc<Guest> {
        let built_in = Guest::built_in(limits()).expect("it is built in");
        let component = wrapped(built_in.component(), &self.module());
        Arc::new(Guest::as_core_module(component, limits()).expect("it is a guest"))
    }

    fn module(&self) -> Vec<u8> {
        const I32: u8 = 0x7f;
        const I64: u8 = 0x7e;
        let kind = |parameters: &[u8], results: &[u8]| [&[0x60][..], &text(parameters), &text(results)].concat();
        let types = [
            kind(&[I32], &[I32]),
            kind(&[I32], &[]),
            kind(&[I32; 4], &[I32]),
            kind(&[I32; 15], &[I32]),
            kind(&[I32, I64, I32, I64, I64, I64, I64, I32, I32, I64, I32, I32, I32, I32, I32], &[I32]),
        ];
        let handles = text(b"[export]multiclient:session/handler@0.1.0");
        let import = |name: &[u8], kind: u8| [&handles[..], &text(name), &[0, kind]].concat();
        let imports = [import(b"[resource-new]session", 0), import(b"[resource-drop]session", 1)];
        let export = |name: &[u8], kind: u8, index: u8| [&text(name)[..], &[kind, index]].concat();
        let exports = [
            export(b"memory", 2, 0),
            export(b"cabi_realloc", 0, 2),
            export(b"multiclient:session/handler@0.1.0#[constructor]session", 0, 3),
            export(b"multiclient:session/handler@0.1.0#[method]session.advance", 0, 4),
            export(b"cabi_post_multiclient:session/handler@0.1.0#[method]session.advance", 0, 5),
        ];
        let bodies = [self.realloc, self.constructor, self.advance, self.returned];
        let bodies = bodies.map(|body| text(&[&[0][..], body, &[0x0b]].concat()));
        [
            b"\0asm\x01\0\0\0".to_vec(),
            section(1, &types),
            section(2, &imports),
            section(3, &[[2], [3], [4], [1]].map(Vec::from)),
            section(5, &[vec![0, u8::try_from(MEMORY >> 16).expect("it is small")]]),
            section(7, &exports),
            section(10, &bodies),
        ]
        .concat()
    }
}

/// The component with another core module.
fn wrapped(component: &[u8], module: &[u8]) -> Vec<u8> {
    let inner = core_module(component).expect("the built-in guest is one module");
    let at = inner.as_ptr().addr() - component.as_ptr().addr();
    let header = [&[1], leb(inner.len()).as_slice()].concat();
    let before = component[..at].strip_suffix(header.as_slice()).expect("its size comes before it");
    [before, &[1], &text(module), &component[at + inner.len()..]].concat()
}

fn section(id: u8, items: &[Vec<u8>]) -> Vec<u8> {
    let content = [leb(items.len()), items.concat()].concat();
    [vec![id], text(&content)].concat()
}

/// Bytes after their number.
fn text(bytes: &[u8]) -> Vec<u8> {
    [&leb(bytes.len()), bytes].concat()
}
