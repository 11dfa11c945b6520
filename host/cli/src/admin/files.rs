//! The sources of the operator's server. They are made when somebody asks for them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use multiclient::{Content, Named, Publisher, Refusal};

use super::events::Events;
use super::watched::Watched;
use super::{metrics, view};

/// The sources of the operator's server.
pub(super) struct Files {
    watched: Arc<Watched>,
    events: Events,
    page: Arc<Content>,
    script: Arc<Content>,
    style: Arc<Content>,
}

impl Files {
    pub(super) fn new(watched: Arc<Watched>, events: Events) -> io::Result<Self> {
        let fixed = |text: &str| Content::bytes(text.as_bytes()).map(Arc::new);
        Ok(Self {
            watched,
            events,
            page: fixed(include_str!("page/index.html"))?,
            script: fixed(include_str!("page/admin.js"))?,
            style: fixed(include_str!("page/admin.css"))?,
        })
    }
}

impl Publisher for Files {
    fn open(&self, name: &[u8]) -> Result<Named, Refusal> {
        Ok(match name {
            b"" => Named::Folder,
            b"index.html" => Named::Content(Arc::clone(&self.page)),
            b"admin.js" => Named::Content(Arc::clone(&self.script)),
            b"admin.css" => Named::Content(Arc::clone(&self.style)),
            b"events" => Named::Live(self.events.stream()),
            b"metrics" => content(metrics::text(&self.watched).as_bytes(), metrics::MEDIA_TYPE)?,
            b"clients.json" => content(&view::clients(&self.watched), "application/json")?,
            b"ready" if self.watched.is_ready.load(Ordering::Relaxed) => content(b"ready\n", "text/plain")?,
            b"ready" => return Err(Refusal::Unavailable),
            _ => return Err(Refusal::NotFound),
        })
    }
}

/// Bytes that were made for one request.
fn content(bytes: &[u8], media_type: &str) -> Result<Named, Refusal> {
    // Short of descriptors or memory, for the moment.
    let content = Content::bytes(bytes).map_err(|_| Refusal::Unavailable)?;
    Ok(Named::Content(Arc::new(content.typed(media_type))))
}
