//! What `wasmtime serve` is made of, in as few lines as it goes: a server for handlers of `wasi:http` 0.2
//! and 0.3, with one folder to read and nothing else. A fresh instance answers each request.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use wasmtime::component::{Component, GuestTaskId, Linker, ResourceTable};
use wasmtime::{Config, Engine, Result, Store, StoreContextMut};
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

/// A server that runs until it is dropped.
pub struct Server {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Server {
    /// Serves a handler on any free port of this machine. It may read what is beneath `folder`.
    pub fn start(world: World, component: &Path, folder: &Path) -> Result<Self> {
        let engine = engine()?;
        let component = Component::from_file(&engine, component)?;
        let mut linker = Linker::new(&engine);
        let pre = match world {
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
        let handler = ProxyHandler::new(Site { engine, pre, folder: folder.to_owned() });
        let runtime = Runtime::new()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
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
    let engine = engine()?;
    let component = Component::from_file(&engine, component)?.component_type();
    Ok(component.imports(&engine).map(|(name, _)| name.to_owned()).collect())
}

fn engine() -> Result<Engine> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    Engine::new(&config)
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
    type WorkerExpiration = WhenIdle;
    type WorkerState = OneRequest;

    async fn instantiate(&self) -> Result<Instance<State, WhenIdle, OneRequest>> {
        let mut wasi = WasiCtx::builder();
        wasi.env("MULTICLIENT_LIST", "1").inherit_stderr();
        wasi.preopened_dir(&self.folder, "/", FsPerms::ReadOnly)?;
        let state =
            State { wasi: wasi.build(), http: WasiHttpCtx::new(), table: ResourceTable::new(), hooks: NoRequests };
        let mut store = Store::new(&self.engine, state);
        let proxy = self.pre.instantiate_async(&mut store).await?;
        Ok(Instance { store, proxy, view: WasiHttpView::http, expiration: WhenIdle, state: OneRequest })
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

/// An instance is dropped as soon as nothing is left to do.
struct WhenIdle;

impl WorkerExpiration for WhenIdle {
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>, status: WorkerStatus, _: Instant) -> Poll<()> {
        if status == WorkerStatus::Idle { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// An instance has one request, and no time limit: those who test have one.
struct OneRequest;

impl WorkerState for OneRequest {
    type StoreData = State;
    type RequestData = ();

    fn should_accept_request(&self, _: usize, total_count: usize) -> ShouldAccept {
        if total_count == 0 { ShouldAccept::Yes } else { ShouldAccept::Never }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, State>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(std::future::pending())
    }

    fn drop(&self, _: Store<State>, _: Result<()>) {}
}
