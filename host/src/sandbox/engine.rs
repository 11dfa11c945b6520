//! The settings of the sandbox, in one place: the build compiles the built-in guest with them, and
//! the program loads it with them. wasmtime refuses an artifact whose settings differ.

use wasmtime::{Config, WasmFeatures};

/// The address space that one guest memory may grow into, in bytes, unless the operator allows more.
///
/// Small, because slots lie side by side: 16 MiB instead of the usual 4 GiB lets a hundred thousand
/// guests fit into the address space, at the price of a bounds check on each access.
pub(crate) const MEMORY_RESERVATION: u64 = 16 << 20;

/// Proposals to WebAssembly that guests may use: what compilers of C and Rust use for an ordinary program.
pub(crate) const ON: &[(&str, WasmFeatures)] = &[
    ("mutable globals", WasmFeatures::MUTABLE_GLOBAL),
    ("sign extension", WasmFeatures::SIGN_EXTENSION),
    ("saturating conversions", WasmFeatures::SATURATING_FLOAT_TO_INT),
    ("multiple values", WasmFeatures::MULTI_VALUE),
    ("bulk memory", WasmFeatures::BULK_MEMORY),
    ("reference types", WasmFeatures::REFERENCE_TYPES),
    ("component model", WasmFeatures::COMPONENT_MODEL),
];

/// Those that a guest is refused for. Each is code of the compiler and the runtime that an attacker has no way
/// into, and no guest of this repository needs it.
pub(crate) const OFF: &[(&str, WasmFeatures)] = &[
    ("SIMD", WasmFeatures::SIMD),
    ("relaxed SIMD", WasmFeatures::RELAXED_SIMD),
    ("tail calls", WasmFeatures::TAIL_CALL),
    ("extended constants", WasmFeatures::EXTENDED_CONST),
    ("multiple memories", WasmFeatures::MULTI_MEMORY),
    ("64-bit memories", WasmFeatures::MEMORY64),
    ("custom page sizes", WasmFeatures::CUSTOM_PAGE_SIZES),
    ("wide arithmetic", WasmFeatures::WIDE_ARITHMETIC),
    ("threads", WasmFeatures::THREADS),
    ("shared-everything threads", WasmFeatures::SHARED_EVERYTHING_THREADS),
    ("exceptions", WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS)),
    ("function references", WasmFeatures::FUNCTION_REFERENCES),
    ("garbage collection", WasmFeatures::GC.union(WasmFeatures::GC_TYPES)),
    ("stack switching", WasmFeatures::STACK_SWITCHING),
    ("component model: async", COMPONENT_ASYNC),
    ("component model: error context", WasmFeatures::CM_ERROR_CONTEXT),
    ("component model: fixed-length lists", WasmFeatures::CM_FIXED_LENGTH_LISTS),
    ("component model: maps", WasmFeatures::CM_MAP),
    ("component model: garbage collection", WasmFeatures::CM_GC),
    ("component model: 64-bit memories", WasmFeatures::CM64),
    ("component model: implements", WasmFeatures::CM_IMPLEMENTS),
];

const COMPONENT_ASYNC: WasmFeatures = WasmFeatures::CM_ASYNC
    .union(WasmFeatures::CM_ASYNC_STACKFUL)
    .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS)
    .union(WasmFeatures::CM_THREADING);

/// What guests may be made of, and how they are compiled.
pub(crate) fn config(memory_reservation: u64) -> Config {
    let mut config = Config::new();
    #[cfg(feature = "compile")]
    config.cranelift_opt_level(wasmtime::OptLevel::Speed);
    config
        .memory_reservation(memory_reservation)
        .memory_reservation_for_growth(0)
        .memory_guard_size(64 << 10)
        // A pooled memory never moves: there is nowhere for it to go.
        .memory_may_move(false)
        // For so small a guest, copying its data is as fast as mapping it, and its memory is then
        // plainly its own.
        .memory_init_cow(false)
        // The deadline of every call. An untaken branch in each loop and function.
        .epoch_interruption(true)
        // Sessions are called one at a time, and never suspended. Without the machinery for it,
        // making an instance costs a quarter less and a call half.
        .concurrency_support(false)
        // The guest runs on the stack of the thread that serves its client.
        .max_wasm_stack(256 << 10)
        .generate_address_map(true);
    for (features, enable) in [(ON, true), (OFF, false)] {
        for (_, feature) in features {
            config.wasm_features(*feature, enable);
        }
    }
    config
}
