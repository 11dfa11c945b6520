//! What is known of the engine that runs guests, for whoever reads an advisory about it.

use crate::sandbox::engine::{OFF, ON};

/// The engine that runs guests, and which parts of it are there: an advisory about another part does not concern
/// this program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Engine {
    /// Its name and version.
    pub version: &'static str,
    /// Parts that are compiled in.
    pub compiled_in: Vec<&'static str>,
    /// Parts that could be, and are not.
    pub left_out: Vec<&'static str>,
    /// Proposals to WebAssembly that guests may use.
    pub on: Vec<&'static str>,
    /// Proposals for which a guest is refused.
    pub off: Vec<&'static str>,
}

/// Parts of wasmtime as its crate calls them, and whether they are compiled in.
///
/// A program that embeds the host can compile in more, by depending on wasmtime itself.
const PARTS: [(&str, bool); 24] = [
    ("runtime", true),
    ("std", true),
    ("component-model", true),
    ("pooling-allocator", true),
    ("backtrace", true),
    ("anyhow", true),
    ("cranelift", cfg!(feature = "compile")),
    ("async", cfg!(feature = "wasi")),
    ("all-arch", cfg!(feature = "all-arch")),
    ("addr2line", false),
    ("cache", false),
    ("call-hook", false),
    ("component-model-async", false),
    ("coredump", false),
    ("debug", false),
    ("demangle", false),
    ("gc", false),
    ("memory-protection-keys", false),
    ("parallel-compilation", false),
    ("profiling", false),
    ("pulley", cfg!(feature = "all-arch")),
    ("stack-switching", false),
    ("threads", false),
    ("winch", false),
];

impl Engine {
    /// That of this program.
    pub fn of_this_program() -> Self {
        let parts =
            |there: bool| PARTS.iter().filter(|(_, is_there)| *is_there == there).map(|(name, _)| *name).collect();
        let names = |proposals: &[(&'static str, _)]| proposals.iter().map(|(name, _)| *name).collect();
        Self {
            version: concat!("wasmtime ", env!("WASMTIME_VERSION")),
            compiled_in: parts(true),
            left_out: parts(false),
            on: names(ON),
            off: names(OFF),
        }
    }
}

#[cfg(all(test, feature = "compile"))]
mod tests {
    use wasmtime::Module;

    use crate::sandbox::engine::{self, MEMORY_RESERVATION};

    /// A module with one function without parameters, after the sections before it: `() -> ()`, and its body.
    fn function(body: &[u8]) -> Vec<u8> {
        let size = |bytes: usize| u8::try_from(bytes).expect("it is short");
        let code = [&[1, size(body.len() + 2), 0], body, &[0x0b]].concat();
        let types_and_functions = [1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0];
        [&b"\0asm\x01\0\0\0"[..], &types_and_functions, &[10, size(code.len())], &code].concat()
    }

    fn sections(sections: &[u8]) -> Vec<u8> {
        [b"\0asm\x01\0\0\0", sections].concat()
    }

    #[test]
    fn what_is_off_is_refused() {
        let engine = wasmtime::Engine::new(&engine::config(MEMORY_RESERVATION)).expect("an engine");
        let refused = |module: Vec<u8>| Module::new(&engine, module).err().map(|error| format!("{error:#}"));
        assert_eq!(refused(function(&[0x01])), None, "an ordinary function");
        let constant = [&[0xfd, 0x0c][..], &[0; 16], &[0x1a]].concat();
        for (what, module, why) in [
            ("SIMD", function(&constant), "SIMD"),
            ("tail calls", function(&[0x12, 0]), "tail calls"),
            ("threads", sections(&[5, 4, 1, 3, 1, 1]), "threads"),
            ("64-bit memories", sections(&[5, 3, 1, 4, 1]), "memory64"),
            ("multiple memories", sections(&[5, 5, 2, 0, 0, 0, 0]), "memories"),
            ("custom page sizes", sections(&[5, 4, 1, 8, 1, 0]), "custom page sizes"),
            ("garbage collection", sections(&[1, 3, 1, 0x5f, 0]), "gc"),
            ("function references", sections(&[1, 9, 2, 0x60, 0, 0, 0x60, 1, 0x63, 0, 0]), "function references"),
            ("exceptions", sections(&[1, 4, 1, 0x60, 0, 0, 13, 3, 1, 0, 0]), "exceptions"),
            ("wide arithmetic", function(&[0x42, 0, 0x42, 0, 0xfc, 0x15, 0x1a, 0x1a]), "wide arithmetic"),
            ("extended constants", sections(&[6, 9, 1, 0x7f, 0, 0x41, 1, 0x41, 1, 0x6a, 0x0b]), "constant expression"),
        ] {
            let said = refused(module).unwrap_or_else(|| panic!("{what} is taken"));
            assert!(said.contains(why), "{what}: {said}");
        }
    }
}
