//! wasmtime's pooling allocator with `pagemap_scan` leaves swapped-out pages of a slot uncleared: the
//! next instance in that slot reads what the previous one wrote.
//!
//! One slot, two instances in turn. The first fills its memory, which is then paged out; the second
//! counts the bytes that are not zero. Needs Linux 6.7 or later and swap (see README.md).
//!
//! Exit code: 0 when the scan leaks and clearing without it does not, 1 when that has changed, 2 when
//! nothing could be swapped out.

#![expect(clippy::print_stdout, reason = "a program that shows something")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;

use rustix::mm::{Advice, madvise};
use rustix::param::page_size;
use wasmtime::{Config, Enabled, Engine, Instance, InstanceAllocationStrategy, Memory, Module};
use wasmtime::{PoolingAllocationConfig, Result, Store};

/// `(module (memory (export "m") 2))`
const MODULE: &[u8] = b"\0asm\x01\0\0\0\x05\x03\x01\0\x02\x07\x05\x01\x01m\x02\0";

/// All of the module's memory may stay resident, so that neither way of clearing gives pages back.
const KEEP_RESIDENT: usize = 2 * 64 * 1024;

fn main() -> Result<ExitCode> {
    let with_scan = leftovers(Enabled::Yes)?;
    let without = leftovers(Enabled::No)?;
    println!("pagemap_scan  swapped out  bytes that the next instance finds");
    println!("yes           {:>11}  {:>34}", with_scan.swapped, with_scan.found);
    println!("no            {:>11}  {:>34}", without.swapped, without.found);
    Ok(match (with_scan.swapped.min(without.swapped), with_scan.found, without.found) {
        (0, ..) => {
            println!("nothing was swapped out: this needs swap (`swapon --show`)");
            ExitCode::from(2)
        }
        (_, 1.., 0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

struct Leftovers {
    /// Pages of the first instance's memory that were swapped out when it was dropped.
    swapped: usize,
    /// Bytes in the second instance's memory that are not zero.
    found: usize,
}

fn leftovers(scan: Enabled) -> Result<Leftovers> {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_memories(1).total_core_instances(1).linear_memory_keep_resident(KEEP_RESIDENT).pagemap_scan(scan);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, MODULE)?;

    let (mut first, memory) = instantiate(&engine, &module)?;
    memory.data_mut(&mut first).fill(0xA5);
    let swapped = page_out(memory.data_mut(&mut first))?;
    drop(first);

    let (second, memory) = instantiate(&engine, &module)?;
    let found = memory.data(&second).iter().filter(|byte| **byte != 0).count();
    Ok(Leftovers { swapped, found })
}

fn instantiate(engine: &Engine, module: &Module) -> Result<(Store<()>, Memory)> {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[])?;
    let memory = instance.get_memory(&mut store, "m").expect("the module exports its memory");
    Ok((store, memory))
}

/// Pages a range out. Returns how many of its pages are in swap then.
fn page_out(range: &mut [u8]) -> Result<usize> {
    let start = range.as_mut_ptr();
    // SAFETY: paging out changes where the bytes are kept, and not the bytes.
    #[expect(unsafe_code, reason = "`madvise` takes a pointer")]
    unsafe {
        madvise(start.cast(), range.len(), Advice::LinuxPageOut)?;
    }

    // An entry of 8 bytes for each page. Bit 62: in swap.
    let mut entries = vec![0; range.len() / page_size() * 8];
    File::open("/proc/self/pagemap")?.read_exact_at(&mut entries, (start.addr() / page_size() * 8) as u64)?;
    Ok(entries.chunks_exact(8).filter(|entry| entry[7] & 0x40 != 0).count())
}
