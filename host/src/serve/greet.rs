//! What comes before a client's first words: what a proxy says of it, and the handshake of TLS.
//!
//! Rules: there is no instance yet, and nobody waits here for longer than for a header section. Whoever takes longest
//! gives way: to other handshakes, and to everybody where the server is full.

use std::sync::Arc;

use tokio::time::Instant;

use super::client::Client;
use super::failed::lost;
use super::greeting::{Greeting, Handshakes};
use super::listen::Proxy;
use super::shared::Stop;
use super::silent::Holds;
use super::untold::Untold;
use super::wait::until;
use crate::ended::{Closed, Ended, Timeout, TlsFault};
use crate::limits::RESERVE_TIMEOUT;
use crate::proxy::{self, Header, Origin};
use crate::sandbox::instance::Place;
use crate::socket::{For, Moved, Shaken};
use crate::tls::Tls;

impl Client {
    /// Greets the client and serves it. Separate from serving, so that a client without a greeting does not hold the
    /// room for one.
    pub(crate) async fn greet_and_serve(mut self, greeting: Arc<Greeting>) {
        let accepted = Instant::now();
        let mut untold = Untold::new(self.number, self.peer, &self.shared);
        let greeted = Box::pin(self.greet(&greeting, accepted)).await;
        untold.came(self.peer, self.via.as_deref().copied());
        match greeted {
            Ok(()) => Box::pin(self.serve_greeted(accepted, untold)).await,
            Err(ended) => {
                // Before it is told of: whoever reads of it finds the place free.
                drop(self);
                let closed = Closed { duration: accepted.elapsed(), ..untold.closed(ended) };
                untold.tell(closed, None);
            }
        }
    }

    /// Does what comes before a client's first words.
    async fn greet(&mut self, greeting: &Greeting, accepted: Instant) -> Result<(), Ended> {
        if greeting.proxy == Proxy::Expected {
            // It holds a header, which nobody else has to.
            Box::pin(self.hear_proxy(accepted)).await?;
        }
        match &greeting.tls {
            Some(tls) => self.shake_hands(tls, &greeting.handshakes, accepted).await,
            None => Ok(()),
        }
    }

    /// Takes in what a proxy says of the client, and nothing after it.
    async fn hear_proxy(&mut self, accepted: Instant) -> Result<(), Ended> {
        let (mut seen, mut count) = ([0; proxy::LONGEST], 0);
        loop {
            let more = match self.socket.peek(&mut seen[count..]).map_err(|error| lost(&error))? {
                Moved::Bytes(more) => more,
                Moved::End if count == 0 => return Err(Ended::Disconnected),
                Moved::End => return Err(Ended::ProxyFailed),
                Moved::Later => {
                    self.wait_for_word(accepted).await?;
                    continue;
                }
            };
            let (length, origin) = match proxy::parse(&seen[..count + more]) {
                Header::Whole(length, origin) => (length, Some(origin)),
                // All of it belongs to the header.
                Header::Partial => (count + more, None),
                Header::Invalid => return Err(Ended::ProxyFailed),
            };
            self.socket.discard(&mut seen[count..length]).map_err(|error| lost(&error))?;
            count = length;
            if let Some(origin) = origin {
                return self.comes_from(origin);
            }
        }
    }

    fn comes_from(&mut self, origin: Origin) -> Result<(), Ended> {
        if let Origin::Client(client) = origin {
            self.via = self.peer.map(Box::new);
            self.peer = Some(client);
            self.admission.count_for(client, &self.shared.limits).map_err(Ended::Rejected)?;
        }
        Ok(())
    }

    async fn shake_hands(&mut self, tls: &Tls, handshakes: &Handshakes, accepted: Instant) -> Result<(), Ended> {
        // Until it says something, a client costs no more than one without TLS does.
        loop {
            match self.socket.peek(&mut [0]).map_err(|error| lost(&error))? {
                Moved::Bytes(_) => break,
                Moved::End => return Err(Ended::Disconnected),
                Moved::Later => self.wait_for_word(accepted).await?,
            }
        }
        self.socket.secure(tls.session().map_err(Ended::TlsFailed)?);
        let _under_way = handshakes.enter();
        loop {
            let turn = handshakes.turn.acquire().await;
            let shaken = self.socket.shake();
            drop(turn);
            match shaken.map_err(|error| unshaken(lost(&error)))? {
                Shaken::Done => return Ok(()),
                Shaken::Waits(what) => self.wait_to_shake(what, accepted, handshakes).await?,
            }
        }
    }

    /// Waits until the client says something.
    async fn wait_for_word(&mut self, accepted: Instant) -> Result<(), Ended> {
        let deadline = self.greeted_by(accepted);
        let Self { number, admission, socket, silent, stop, .. } = self;
        let displaced = silent.gives_way(admission.place(), *number, accepted, Holds::Nothing);
        tokio::select! {
            biased;
            ready = until(socket.readable(), deadline, Timeout::Header, stop, Stop::Drain) => ready?,
            () = displaced => if !socket.has_unread() { return Err(Ended::Displaced) },
        }
        // A client that has said nothing so far loses nothing.
        if *stop.borrow() == Stop::No || socket.has_unread() { Ok(()) } else { Err(Ended::Finished) }
    }

    /// Waits for the client in the middle of the handshake.
    async fn wait_to_shake(&mut self, what: For, accepted: Instant, others: &Handshakes) -> Result<(), Ended> {
        let deadline = self.greeted_by(accepted);
        let Self { number, admission, socket, silent, stop, .. } = self;
        let full = silent.gives_way(admission.place(), *number, accepted, Holds::Nothing);
        let crowded = others.list.gives_way(Place::Regular, *number, accepted, Holds::Nothing);
        let ready = async {
            match what {
                For::Bytes => socket.readable().await,
                For::Room => socket.writable().await,
            }
        };
        tokio::select! {
            biased;
            ready = until(ready, deadline, Timeout::Header, stop, Stop::Now) => ready,
            () = full => Err(Ended::Displaced),
            () = crowded => Err(Ended::TlsFailed(TlsFault::Handshakes)),
        }
    }

    /// By when the first words have to have come.
    fn greeted_by(&self, accepted: Instant) -> Instant {
        let patience = self.shared.limits.header_timeout;
        accepted
            + match self.admission.place() {
                Place::Regular => patience,
                Place::Reserve => patience.min(RESERVE_TIMEOUT),
            }
    }
}

/// What it means for a handshake that a client is gone.
fn unshaken(ended: Ended) -> Ended {
    match ended {
        Ended::Disconnected => Ended::TlsFailed(TlsFault::Left),
        ended => ended,
    }
}
