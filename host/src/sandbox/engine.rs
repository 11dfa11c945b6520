//! The settings of the sandbox, in one place: the build compiles the built-in guest with them, and
//! the program loads it with them. wasmtime refuses an artifact whose settings differ.

use wasmtime::Config;

/// The address space that one guest memory may grow into, in bytes, unless the operator allows more.
///
/// Small, because slots lie side by side: 16 MiB instead of the usual 4 GiB lets a hundred thousand
/// guests fit into the address space, at the price of a bounds check on each access.
pub(crate) const MEMORY_RESERVATION: u64 = 16 << 20;

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
        .wasm_component_model(true)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false)
        // The guest runs on the stack of the thread that serves its client.
        .max_wasm_stack(256 << 10)
        .generate_address_map(true);
    config
}
