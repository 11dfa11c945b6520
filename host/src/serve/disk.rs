//! Waits for disks, for one client: beside the loop, no longer than for any source, and only as long as the client
//! is there.

use std::future::Future;
use std::io;
use std::mem;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::admission::counted_as;
use super::client::{Client, Connection};
use super::shared::Stop;
use crate::contract::Refusal;
use crate::ended::{Breach, Ended, Timeout};
use crate::limits::DISK_PASS_BYTES;
use crate::socket::Moved;
use crate::sources::{Asked, Looked, Owner, Passing, Reading};

impl Connection {
    /// Passes some of the open source that is not in memory.
    pub(super) async fn pass_from_disk(&mut self, offset: u64, count: usize) -> Result<io::Result<Moved>, Ended> {
        let source = self.source.as_ref().ok_or(Ended::Breach(Breach::NothingOpen))?;
        let content = Arc::clone(&source.content);
        let socket = self.client.socket.share().map_err(|error| Ended::HostFault(error.to_string()))?;
        let passing = Passing { content, offset, count: count.min(DISK_PASS_BYTES), socket };
        let owner = self.owner();
        let passed = self.client.shared.sources.pass_from_disk(owner, passing);
        match self.wait_for_disk(passed).await? {
            Ok(moved) => Ok(moved),
            Err(_) => Err(Ended::SourceFailed("no thread is there to read it".into())),
        }
    }

    /// Reads some of the open source that is not in memory.
    pub(super) async fn read_from_disk(&mut self, offset: u64, count: usize) -> Result<io::Result<Vec<u8>>, Ended> {
        let source = self.source.as_ref().ok_or(Ended::Breach(Breach::NothingOpen))?;
        let reading = Reading { content: Arc::clone(&source.content), offset, count };
        let read = self.client.shared.sources.read_from_disk(self.owner(), reading);
        match self.wait_for_disk(read).await? {
            Ok(read) => Ok(read),
            Err(_) => Err(Ended::SourceFailed("no thread is there to read it".into())),
        }
    }

    fn owner(&self) -> Owner {
        self.client.peer.and_then(|peer| counted_as(peer.ip()))
    }

    pub(super) fn asks(&mut self) -> Asked {
        Asked { owner: self.owner(), view: mem::take(&mut self.view) }
    }

    /// Waits for what is looked for, and keeps what was seen meanwhile.
    pub(super) async fn looked<T>(
        &mut self,
        looked: impl Future<Output = Result<Looked<T>, Refusal>>,
    ) -> Result<Result<T, Refusal>, Ended> {
        Ok(match self.wait_for_disk(looked).await? {
            Ok(Looked { view, found }) => {
                self.view = view;
                found
            }
            Err(refusal) => Err(refusal),
        })
    }

    /// Waits for what a disk has, no longer than for any source.
    async fn wait_for_disk<T>(
        &mut self,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<Result<T, Refusal>, Ended> {
        let deadline = Instant::now() + self.client.shared.limits.source_timeout;
        let Client { socket, stop, .. } = &mut self.client;
        tokio::select! {
            biased;
            done = work => Ok(done),
            _ = socket.failed() => Err(Ended::Disconnected),
            _ = stop.wait_for(|stop| *stop == Stop::Now) => Err(Ended::ShutDown),
            () = sleep_until(deadline) => Err(Ended::TimedOut(Timeout::Source)),
        }
    }
}
