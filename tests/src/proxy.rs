//! A TCP proxy in front of a server, for what networks do to connections: delay them, swallow them, cut them.

use std::{
    cell::Cell,
    io,
    net::{Ipv4Addr, TcpListener as StdListener},
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::LocalSet,
    time::{Instant, sleep_until},
};

use crate::{error::HarnessError, port};

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They arrive.
    Pass,
    /// They arrive this much later, in each direction.
    Delay(Duration),
    /// They are lost. A connection that has lost some stays silent until one end closes it, as behind a firewall that
    /// has forgotten it; so does one that is opened meanwhile.
    Drop,
    /// They wait, and arrive when the mode ends.
    Stall,
    /// Every connection is reset, and every new one at once.
    Cut,
}

/// A proxy on a port of its own, gone when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    /// A proxy to `upstream`, a port of 127.0.0.1, where nobody need listen yet.
    ///
    /// # Errors
    /// The system's.
    pub fn start(upstream: u16) -> Result<Self, HarnessError> {
        let failed = || HarnessError::io("starting a proxy");
        let port = port::free().map_err(failed())?;
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed())?;
        listener.set_nonblocking(true).map_err(failed())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed())?;
        let (mode, modes) = watch::channel(Mode::Pass);
        let serving = move || {
            LocalSet::new().block_on(&runtime, async {
                // An error ends the thread, and every later connection is refused: the test fails by that.
                let _ended = accept(listener, upstream, modes).await;
            });
        };
        thread::Builder::new().name("proxy".to_owned()).spawn(serving).map_err(failed())?;
        Ok(Self { port, mode })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What becomes of the bytes from now on, those of connections that are open too.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

/// Serves until the proxy is dropped.
async fn accept(listener: StdListener, upstream: u16, modes: watch::Receiver<Mode>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut ended = modes.clone();
    let ended = ended.wait_for(|_| false);
    tokio::pin!(ended);
    loop {
        tokio::select! {
            client = listener.accept() => {
                let modes = modes.clone();
                tokio::task::spawn_local(async move {
                    // An error is one end's, and the other learns of it by the close.
                    let _closed = serve(client?.0, upstream, modes).await;
                    io::Result::Ok(())
                });
            }
            _ = &mut ended => return Ok(()),
        }
    }
}

/// One connection, from its first byte to its end.
async fn serve(mut client: TcpStream, upstream: u16, mut modes: watch::Receiver<Mode>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut cut = modes.clone();
    until(&mut modes, |mode| mode != Mode::Stall).await;
    if *modes.borrow() == Mode::Cut {
        return client.set_zero_linger();
    }
    if *modes.borrow() == Mode::Drop {
        let mut lost = [0; 1024];
        while client.read(&mut lost).await? > 0 {}
        return Ok(());
    }
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await else {
        return client.set_zero_linger();
    };
    server.set_nodelay(true)?;
    let lost = Cell::new(false);
    let was_cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        // Whichever end closes, the other one is told: nobody here uses half of a connection.
        tokio::select! {
            _ = carry(from_client, to_server, modes.clone(), &lost) => false,
            _ = carry(from_server, to_client, modes, &lost) => false,
            () = until(&mut cut, |mode| mode == Mode::Cut) => true,
        }
    };
    if was_cut {
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    Ok(())
}

/// Carries one direction until its sender closes it.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut modes: watch::Receiver<Mode>,
    lost: &Cell<bool>,
) -> io::Result<()> {
    let mut writing_modes = modes.clone();
    // Bounded, so that a slow reader slows the sender down as it would without a proxy.
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let reading = async move {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from.read(&mut buffer).await?;
            let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
            until(&mut modes, |mode| mode != Mode::Stall).await;
            let delay = match *modes.borrow() {
                Mode::Delay(delay) => delay,
                Mode::Drop => {
                    lost.set(true);
                    Duration::ZERO
                }
                Mode::Pass | Mode::Stall | Mode::Cut => Duration::ZERO,
            };
            if !lost.get() && queue.send((Instant::now() + delay, bytes.to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    let writing = async {
        while let Some((due, bytes)) = queued.recv().await {
            sleep_until(due).await;
            until(&mut writing_modes, |mode| mode != Mode::Stall).await;
            to.write_all(&bytes).await?;
        }
        Ok(())
    };
    tokio::try_join!(reading, writing).map(drop)
}

/// Waits for a mode; for ever once the proxy is gone, whose end ends this too.
async fn until(modes: &mut watch::Receiver<Mode>, wanted: impl Fn(Mode) -> bool) {
    if modes.wait_for(|mode| wanted(*mode)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says everything twice over: back to who said it.
    async fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        port
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap()
    }

    /// Says something by a connection of its own. A reset may come so soon that already connecting fails.
    async fn said_anew(proxy: &Proxy) -> io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await?;
        said(&mut stream, LONG).await
    }

    /// Says something and waits for its echo at most this long.
    async fn said(stream: &mut TcpStream, patience: Duration) -> io::Result<bool> {
        stream.write_all(b"hello").await?;
        heard(stream, patience).await
    }

    async fn heard(stream: &mut TcpStream, patience: Duration) -> io::Result<bool> {
        let mut answer = [0; 5];
        match tokio::time::timeout(patience, stream.read_exact(&mut answer)).await {
            Ok(read) => read.map(|_| answer == *b"hello"),
            Err(_) => Ok(false),
        }
    }

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn passes_and_delays() {
        let proxy = Proxy::start(echo().await).unwrap();
        let mut stream = connect(&proxy).await;
        assert!(said(&mut stream, LONG).await.unwrap());
        proxy.set(Mode::Delay(SHORT));
        let begun = Instant::now();
        assert!(said(&mut stream, LONG).await.unwrap());
        assert!(begun.elapsed() >= 2 * SHORT, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn what_is_stalled_arrives_later() {
        let proxy = Proxy::start(echo().await).unwrap();
        let mut open = connect(&proxy).await;
        assert!(said(&mut open, LONG).await.unwrap());
        proxy.set(Mode::Stall);
        let mut new = connect(&proxy).await;
        assert!(!said(&mut open, SHORT).await.unwrap());
        assert!(!said(&mut new, SHORT).await.unwrap());
        proxy.set(Mode::Pass);
        assert!(heard(&mut open, LONG).await.unwrap());
        assert!(heard(&mut new, LONG).await.unwrap());
    }

    #[tokio::test]
    async fn a_connection_that_lost_bytes_stays_silent() {
        let proxy = Proxy::start(echo().await).unwrap();
        let mut open = connect(&proxy).await;
        let mut idle = connect(&proxy).await;
        assert!(said(&mut idle, LONG).await.unwrap());
        proxy.set(Mode::Drop);
        let mut new = connect(&proxy).await;
        assert!(!said(&mut open, SHORT).await.unwrap());
        assert!(!said(&mut new, SHORT).await.unwrap());
        proxy.set(Mode::Pass);
        assert!(!said(&mut open, SHORT).await.unwrap());
        assert!(!said(&mut new, SHORT).await.unwrap());
        assert!(said(&mut idle, LONG).await.unwrap());
        assert!(said(&mut connect(&proxy).await, LONG).await.unwrap());
    }

    #[tokio::test]
    async fn resets_open_and_new_connections_while_it_cuts() {
        let proxy = Proxy::start(echo().await).unwrap();
        let mut open = connect(&proxy).await;
        assert!(said(&mut open, LONG).await.unwrap());
        proxy.set(Mode::Cut);
        assert!(heard(&mut open, LONG).await.is_err());
        assert!(said_anew(&proxy).await.is_err());
        proxy.set(Mode::Pass);
        assert!(said(&mut connect(&proxy).await, LONG).await.unwrap());
    }

    #[tokio::test]
    async fn refuses_where_nobody_listens_and_is_gone_when_dropped() {
        let proxy = Proxy::start(port::free().unwrap()).unwrap();
        assert!(said_anew(&proxy).await.is_err());
        let port = proxy.port();
        drop(proxy);
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            assert!(begun.elapsed() < LONG);
            tokio::task::yield_now().await;
        }
    }
}
