//! What `wasmtime serve` is made of, in as few lines as it goes: a server for handlers of `wasi:http` 0.2
//! and 0.3, with one folder to read and nothing else.
//!
//! A fresh instance answers each request, unless it is told otherwise: the control for `multiclient isolate`, where
//! clients must be found to touch one another.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use wasmtime::component::{Component, GuestTaskId, Linker, ResourceTable};
use wasmtime::{Config, Engine, EngineWeak, Result, Store, StoreContextMut};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyHandler, ProxyPre, Response, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView, p2, p3,
};

/// The worlds that a handler can be written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// `wasi:http/incoming-handler@0.2`.
    IncomingHandler,
    /// `wasi:http/handler@0.3.0`.
    Handler,
}

/// How a component is served. A [`World`] alone: by a fresh instance for each request, which may compute for ever.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What the component is.
    pub world: World,
    /// Who answers a request.
    pub instances: Instances,
    /// How long an instance may compute.
    pub turns: Turns,
    /// The port of this machine to listen on. 0: any that is free.
    pub port: u16,
}

/// Who answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instances {
    /// An instance that nobody had before.
    Fresh,
    /// An instance that others had before, if one is idle. It is never dropped, unless it traps.
    Reused,
}

/// How long an instance may compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// For ever: it keeps the thread that it has.
    Unlimited,
    /// For one [`TURN`] at a time, and no longer than a request may take, which is [`REQUEST`].
    Limited,
}

/// After how much time an instance lets others have the thread.
pub const TURN: Duration = Duration::from_millis(1);

/// How long a request may take where turns are limited.
pub const REQUEST: Duration = Duration::from_secs(1);

impl From<World> for Settings {
    fn from(world: World) -> Self {
        Self { world, instances: Instances::Fresh, turns: Turns::Unlimited, port: 0 }
    }
}

/// A server that runs until it is dropped.
pub struct Server {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Server {
    /// Serves a handler on a port of this machine. It may read what is beneath `folder`.
    pub fn start(settings: impl Into<Settings>, component: &Path, folder: &Path) -> Result<Self> {
        let settings = settings.into();
        let engine = engine(settings.turns)?;
        let component = Component::from_file(&engine, component)?;
        let mut linker = Linker::new(&engine);
        let pre = match settings.world {
            World::IncomingHandler => {
                wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
                p2::add_only_http_to_linker_async(&mut linker)?;
                ProxyPre::P2(p2::bindings::ProxyPre::new(linker.instantiate_pre(&component)?)?)
            }
            // WASI 0.3 and nothing older: a component that needs both would not start.
            World::Handler => {
                wasmtime_wasi::p3::add_to_linker(&mut linker)?;
                p3::add_to_linker(&mut linker)?;
                ProxyPre::P3(p3::bindings::ServicePre::new(linker.instantiate_pre(&component)?)?)
            }
        };
        if settings.turns == Turns::Limited {
            count_turns(engine.weak());
        }
        let handler = ProxyHandler::new(Site { engine, pre, folder: folder.to_owned(), settings });
        let runtime = Runtime::new()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", settings.port)))?;
        let address = listener.local_addr()?;
        runtime.spawn(accept(listener, handler));
        Ok(Self { address, _runtime: runtime })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What a component imports, read from itself.
pub fn imports(component: &Path) -> Result<Vec<String>> {
    let engine = engine(Turns::Unlimited)?;
    let component = Component::from_file(&engine, component)?.component_type();
    Ok(component.imports(&engine).map(|(name, _)| name.to_owned()).collect())
}

fn engine(turns: Turns) -> Result<Engine> {
    let mut config = Config::new();
    config.wasm_component_model_async(true).epoch_interruption(turns == Turns::Limited);
    Engine::new(&config)
}

/// Ends a turn again and again, as long as the engine is there.
fn count_turns(engine: EngineWeak) {
    thread::spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TURN);
        }
    });
}

async fn accept(listener: TcpListener, handler: ProxyHandler<Site>) -> Result<Infallible, io::Error> {
    loop {
        let (client, _) = listener.accept().await?;
        let handler = handler.clone();
        let answer = service_fn(move |request: hyper::Request<Incoming>| {
            let handler = handler.clone();
            async move { answer(&handler, request).await }
        });
        // Whoever leaves early has nothing to complain of.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(client), answer));
    }
}

async fn answer(handler: &ProxyHandler<Site>, request: hyper::Request<Incoming>) -> Result<Response> {
    let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
    handler.handle((), request).await
}

/// What instances are made of.
struct Site {
    engine: Engine,
    pre: ProxyPre<State>,
    folder: PathBuf,
    settings: Settings,
}

/// What an instance has.
struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: NoRequests,
}

impl HandlerState for Site {
    type StoreData = State;
    type WorkerExpiration = Lifetime;
    type WorkerState = Requests;

    async fn instantiate(&self) -> Result<Instance<State, Lifetime, Requests>> {
        let mut wasi = WasiCtx::builder();
        wasi.env("MULTICLIENT_LIST", "1").inherit_stderr();
        wasi.preopened_dir(&self.folder, "/", FsPerms::ReadOnly)?;
        let state =
            State { wasi: wasi.build(), http: WasiHttpCtx::new(), table: ResourceTable::new(), hooks: NoRequests };
        let mut store = Store::new(&self.engine, state);
        if self.settings.turns == Turns::Limited {
            store.set_epoch_deadline(1);
            store.epoch_deadline_async_yield_and_update(1);
        }
        let proxy = self.pre.instantiate_async(&mut store).await?;
        let (expiration, state) = (Lifetime(self.settings), Requests(self.settings));
        Ok(Instance { store, proxy, view: WasiHttpView::http, expiration, state })
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// A handler that answers has nothing to ask of others.
struct NoRequests;

type Reply = (Response, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for NoRequests {
    fn send_request(
        &mut self,
        _: hyper::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Reply, Error>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

/// How long an instance lives.
struct Lifetime(Settings);

impl WorkerExpiration for Lifetime {
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>, status: WorkerStatus, since: Instant) -> Poll<()> {
        let Settings { instances, turns, .. } = self.0;
        let is_over = match status {
            WorkerStatus::Idle => instances == Instances::Fresh,
            // Whoever computes without end comes by here after each turn.
            WorkerStatus::Requests | WorkerStatus::PostReturn => turns == Turns::Limited && since.elapsed() > REQUEST,
        };
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// How many requests an instance has, and how long they may take.
struct Requests(Settings);

impl WorkerState for Requests {
    type StoreData = State;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        match self.0.instances {
            Instances::Fresh if total > 0 => ShouldAccept::Never,
            Instances::Reused if concurrent > 0 => ShouldAccept::No,
            Instances::Fresh | Instances::Reused => ShouldAccept::Yes,
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, State>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        match self.0.turns {
            Turns::Unlimited => Box::pin(std::future::pending()),
            Turns::Limited => Box::pin(tokio::time::sleep(REQUEST)),
        }
    }

    fn drop(&self, _: Store<State>, _: Result<()>) {}
}
