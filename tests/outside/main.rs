//! The program as its users meet it: bytes over sockets, flags, signals, its log. Nothing of the library is
//! used, so these also run against another build: `MULTICLIENT_UNDER_TEST=/path`.

mod capsule;
mod crowd;
mod crowds;
mod deploy;
mod guests;
mod health;
mod life;
mod live;
mod operate;
mod proxy;
mod serve;
mod shortage;
mod tls;
mod walls;
