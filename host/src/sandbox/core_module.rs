//! A guest as the core module that it is, without the component runtime around it.
//!
//! Making an instance and calling it costs less that way. What the component runtime would do is done here: handles,
//! the canonical ABI, and the rules for who may call whom when. A component stays what guests are exchanged as, and
//! what a session is replayed with.

use wasmtime::{Caller, Engine, Error, Instance, InstancePre, Linker, Memory, Module, ModuleExport, Result, Store};
use wasmtime::{Trap, TypedFunc};

use crate::contract::{Action, Event};
use crate::sandbox::canonical::{self, Heap, LoweredEvent, LoweredSettings};
use crate::sandbox::meter::Bounds;
use crate::sandbox::wire::Circumstances;
use crate::settings::Settings;

/// From where the module imports what it makes handles with.
const HANDLES: &str = "[export]multiclient:session/handler@0.1.0";

/// The names of its functions.
const CONSTRUCTOR: &str = "multiclient:session/handler@0.1.0#[constructor]session";
const ADVANCE: &str = "multiclient:session/handler@0.1.0#[method]session.advance";
const ADVANCE_RETURNED: &str = "cabi_post_multiclient:session/handler@0.1.0#[method]session.advance";

/// The parameters of `advance`: the session, the time, which event it is, and what comes with it.
type Advance = (u32, u64, u32, u64, u64, u64, u64, u32, u32, u64, u32, u32, u32, u32, u32);

/// The old block, its size, the alignment and the new size.
type Realloc = (u32, u32, u32, u32);

/// A module, ready to make instances of.
pub(super) struct CoreModule {
    pre: InstancePre<Bounds>,
    memory: ModuleExport,
    realloc: ModuleExport,
    constructor: ModuleExport,
    advance: ModuleExport,
    advance_returned: ModuleExport,
    /// Bytes of memory that an instance starts with.
    pub(super) initial_memory: u64,
}

impl CoreModule {
    /// Fails where the module imports anything but the functions for handles, or does not export the contract.
    pub(super) fn new(engine: &Engine, module: &Module) -> Result<Self> {
        let mut linker = Linker::new(engine);
        linker.func_wrap(HANDLES, "[resource-new]session", |mut caller: Caller<'_, Bounds>, session: u32| {
            caller.data_mut().handles.make(session)
        })?;
        linker.func_wrap(HANDLES, "[resource-drop]session", |mut caller: Caller<'_, Bounds>, handle: u32| {
            caller.data_mut().handles.drop(handle)
        })?;
        let export = |name: &str| module.get_export_index(name).ok_or_else(|| missing(name));
        let initial_memory = module.resources_required().max_initial_memory_size.unwrap_or_default();
        Ok(Self {
            pre: linker.instantiate_pre(module)?,
            memory: export("memory")?,
            realloc: export("cabi_realloc")?,
            constructor: export(CONSTRUCTOR)?,
            advance: export(ADVANCE)?,
            advance_returned: export(ADVANCE_RETURNED)?,
            initial_memory: initial_memory.saturating_mul(64 << 10),
        })
    }

    /// Makes an instance.
    pub(super) fn instantiate(&self, store: &mut Store<Bounds>) -> Result<CoreInstance> {
        let instance = self.pre.instantiate(&mut *store)?;
        let memory = instance.get_module_export(&mut *store, &self.memory);
        Ok(CoreInstance {
            memory: memory.and_then(wasmtime::Extern::into_memory).ok_or_else(|| missing("memory"))?,
            realloc: function(store, instance, &self.realloc)?,
            constructor: function(store, instance, &self.constructor)?,
            advance: function(store, instance, &self.advance)?,
            advance_returned: function(store, instance, &self.advance_returned)?,
            has_failed: false,
        })
    }
}

fn function<P, R>(store: &mut Store<Bounds>, instance: Instance, export: &ModuleExport) -> Result<TypedFunc<P, R>>
where
    P: wasmtime::WasmParams,
    R: wasmtime::WasmResults,
{
    let function = instance.get_module_export(&mut *store, export).and_then(wasmtime::Extern::into_func);
    function.ok_or_else(|| missing("a function"))?.typed(store)
}

fn missing(name: &str) -> Error {
    Error::msg(format!("the module does not export {name}"))
}

/// An instance of a module.
pub(super) struct CoreInstance {
    memory: Memory,
    realloc: TypedFunc<Realloc, u32>,
    constructor: TypedFunc<LoweredSettings, u32>,
    advance: TypedFunc<Advance, u32>,
    advance_returned: TypedFunc<u32, ()>,
    /// Whether a call has failed. Nobody knows what such an instance has left half done: it is not entered again.
    has_failed: bool,
}

impl CoreInstance {
    /// Makes a session, and returns what the guest calls it.
    pub(super) fn session(
        &mut self,
        store: &mut Store<Bounds>,
        settings: &Settings,
        circumstances: &Circumstances<'_>,
    ) -> Result<u32> {
        self.enter(|instance| {
            let settings = canonical::lower_settings(&mut Callee { instance, store }, settings, circumstances)?;
            let handle = instance.constructor.call(&mut *store, settings)?;
            store.data_mut().handles.own(handle)
        })
    }

    /// Tells a session what happened.
    pub(super) fn advance(
        &mut self,
        store: &mut Store<Bounds>,
        session: u32,
        now: u64,
        event: &Event<'_>,
    ) -> Result<Vec<Action>> {
        self.enter(|instance| {
            store.data_mut().handles.lend()?;
            let event = canonical::lower_event(&mut Callee { instance, store }, event)?;
            let returned = instance.advance.call(&mut *store, parameters(session, now, &event))?;
            let most_bytes = store.data().action_bytes;
            let actions = canonical::lift_actions(instance.memory.data(&*store), returned, most_bytes)?;
            without_leaving(store, |store| instance.advance_returned.call(store, returned))?;
            store.data_mut().handles.take_back();
            Ok(actions)
        })
    }

    fn enter<T>(&mut self, call: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        if self.has_failed {
            return Err(Trap::CannotEnterComponent.into());
        }
        let result = call(self);
        self.has_failed = result.is_err();
        result
    }
}

fn parameters(session: u32, now: u64, event: &LoweredEvent) -> Advance {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = event.payload;
    // Those that are 32 bits wide in every event were lowered from as many.
    #[expect(clippy::cast_possible_truncation, reason = "see above")]
    let short = |value: u64| value as u32;
    (session, now, event.tag, a, b, c, d, short(e), short(f), g, short(h), short(i), short(j), short(k), short(l))
}

/// Calls the guest while it must not call the host.
fn without_leaving<T>(store: &mut Store<Bounds>, call: impl FnOnce(&mut Store<Bounds>) -> Result<T>) -> Result<T> {
    store.data_mut().handles.may_leave = false;
    let result = call(store)?;
    store.data_mut().handles.may_leave = true;
    Ok(result)
}

/// An instance that values are lowered into.
struct Callee<'a> {
    instance: &'a CoreInstance,
    store: &'a mut Store<Bounds>,
}

impl Heap for Callee<'_> {
    fn allocate(&mut self, size: usize, align: u32) -> Result<u32> {
        let wanted = (0, 0, align, u32::try_from(size)?);
        let address = without_leaving(self.store, |store| self.instance.realloc.call(store, wanted))?;
        canonical::check_allocated(self.instance.memory.data(&*self.store), address, size, align)?;
        Ok(address)
    }

    fn memory(&mut self) -> &mut [u8] {
        self.instance.memory.data_mut(&mut *self.store)
    }
}
