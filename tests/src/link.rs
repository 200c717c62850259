//! A bad network between an agent and its broker: a TCP proxy on loopback with rate, delay and a bounded buffer.
//!
//! Each direction of a connection is a reader, a queue and a writer. A chunk leaves when the chunks before it have been
//! sent at the link's rate, 40 bytes of headers each, and arrives one delay later; when the queue is full, the sender
//! is held up, as by the buffer of a modem. The link can be cut, made to swallow everything (half open), or closed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

/// Payload of a full TCP segment on Ethernet, bytes.
const SEGMENT: usize = 1448;
/// IPv4 and TCP headers of a segment, bytes.
const HEADERS: usize = 40;
/// How often a thread looks whether it should go on.
const LOOK: Duration = Duration::from_millis(10);

/// How good a link is, each way.
#[derive(Debug, Clone, Copy)]
pub struct Quality {
    /// Bytes per second, headers included; `None`: as fast as it goes.
    pub rate: Option<u32>,
    /// From the last byte sent to its arrival.
    pub delay: Duration,
    /// Segments that wait to be sent.
    pub buffer: usize,
}

impl Quality {
    /// Loopback as it is.
    pub const PERFECT: Quality = Quality {
        rate: None,
        delay: Duration::ZERO,
        buffer: 64,
    };
}

/// A proxy; ends with its connections when dropped.
#[derive(Debug)]
pub struct Link {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    quality: Mutex<Quality>,
    open: AtomicBool,
    swallows: AtomicBool,
    ended: AtomicBool,
    connections: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    live: Mutex<Vec<TcpStream>>,
}

/// One way of a connection.
#[derive(Debug, Clone, Copy)]
enum Way {
    Up,
    Down,
}

impl Link {
    /// A link to a port of this host, open.
    ///
    /// # Panics
    /// If it cannot listen.
    pub fn new(target: u16, quality: Quality) -> Link {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener
            .local_addr()
            .expect("a bound socket has an address")
            .port();
        listener
            .set_nonblocking(true)
            .expect("a TCP socket can be polled");
        if quality.rate.is_some() {
            // Or loopback would buffer for the link, a minute's worth of it.
            setsockopt(&listener, sockopt::RcvBuf, &(2 * SEGMENT)).expect("a TCP socket has a buffer");
        }
        let shared = Arc::new(Shared {
            target,
            quality: Mutex::new(quality),
            open: AtomicBool::new(true),
            swallows: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            live: Mutex::default(),
        });
        let acceptor = Arc::clone(&shared);
        thread::spawn(move || acceptor.accept(&listener));
        Link { port, shared }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection; new ones are let in.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Ends every connection and lets none in.
    pub fn close(&self) {
        self.shared.open.store(false, Ordering::SeqCst);
        self.shared.cut();
    }

    /// Lets connections in again.
    pub fn open(&self) {
        self.shared.open.store(true, Ordering::SeqCst);
    }

    /// From now on (or no more) bytes of live connections go nowhere, and nobody is told.
    pub fn swallow(&self, yes: bool) {
        self.shared.swallows.store(yes, Ordering::SeqCst);
    }

    /// Makes the link better or worse from now on; its buffer changes with the next connection.
    pub fn set_quality(&self, quality: Quality) {
        *self.shared.quality.lock().unwrap_or_else(PoisonError::into_inner) = quality;
    }

    /// Connections let in so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Bytes carried so far: to the target, and back; TCP payload.
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.shared.up.load(Ordering::SeqCst),
            self.shared.down.load(Ordering::SeqCst),
        )
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.cut();
    }
}

impl Shared {
    fn quality(&self) -> Quality {
        *self.quality.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) {
        for stream in self.live.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // One that has ended by itself is as cut as it can be.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while !self.ended.load(Ordering::SeqCst) {
            match listener.accept() {
                // A closed link drops the connection at once.
                Ok((client, _)) if self.open.load(Ordering::SeqCst) => {
                    // No target: the client sees its connection end.
                    let _ = self.connect(client);
                }
                Ok(_) => {}
                Err(_) => thread::sleep(LOOK),
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream) -> std::io::Result<()> {
        client.set_nonblocking(false)?;
        let server = TcpStream::connect(("127.0.0.1", self.target))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        self.live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend([client.try_clone()?, server.try_clone()?]);
        self.connections.fetch_add(1, Ordering::SeqCst);
        self.pipe(Way::Up, client.try_clone()?, server.try_clone()?);
        self.pipe(Way::Down, server, client);
        Ok(())
    }

    fn pipe(self: &Arc<Self>, way: Way, from: TcpStream, to: TcpStream) {
        let (queue, waiting) = sync_channel(self.quality().buffer);
        let (reader, writer) = (Arc::clone(self), Arc::clone(self));
        thread::spawn(move || reader.read(from, &queue));
        thread::spawn(move || writer.write(way, to, &waiting));
    }

    fn read(&self, mut from: TcpStream, queue: &SyncSender<(Instant, Vec<u8>)>) {
        let mut chunk = [0; SEGMENT];
        while let Ok(read @ 1..) = from.read(&mut chunk) {
            let swallowed = self.swallows.load(Ordering::SeqCst);
            if !swallowed && queue.send((Instant::now(), chunk[..read].to_vec())).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
    }

    fn write(&self, way: Way, mut to: TcpStream, waiting: &Receiver<(Instant, Vec<u8>)>) {
        let mut free = Instant::now();
        for (came, chunk) in waiting {
            let quality = self.quality();
            let on_wire = quality.rate.map_or(Duration::ZERO, |rate| {
                Duration::from_secs(1) * u32::try_from(chunk.len() + HEADERS).unwrap_or(u32::MAX) / rate
            });
            free = free.max(came) + on_wire;
            thread::sleep((free + quality.delay).saturating_duration_since(Instant::now()));
            if to.write_all(&chunk).is_err() {
                break;
            }
            let counter = match way {
                Way::Up => &self.up,
                Way::Down => &self.down,
            };
            counter.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}
