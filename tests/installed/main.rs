//! The program together with others that have to be installed: clients, players, browsers, proxies, containers,
//! compilers. A test whose program is missing is skipped, and says so; see `tests/README.md`.

mod admin_page;
mod browser;
mod chromium;
mod container;
mod cost;
mod curl;
mod downloads;
mod embed;
mod film;
mod gopher;
mod haproxy;
mod late;
mod live;
mod players;
mod prometheus;
mod systemd;
mod tls;
