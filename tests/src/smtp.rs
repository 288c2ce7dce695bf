//! An SMTP server (RFC 5321) that keeps what it is sent, and that can be slow, refuse, hang up or be down.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{error::HarnessError, port, secrecy};

/// How the server treats what comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// It takes everything.
    Take,
    /// It takes so long to answer a message, and then has it.
    Slow(Duration),
    /// It takes no message now.
    Later,
    /// It takes none to this address now, whose name is in its answer.
    LaterFor(String),
    /// It relays for nobody: its settings, or ours, are wrong.
    Denied,
    /// It never takes one to this address, whose name is in its answer.
    Refuse(String),
    /// It closes the connection in the middle of the message.
    HangUp,
}

/// A message as it was taken.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The addresses of the envelope.
    pub from: String,
    /// Whom it is to.
    pub to: String,
    /// The message.
    pub data: String,
}

impl Letter {
    /// A field of its header; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let head = self.data.split("\r\n\r\n").next().unwrap_or_default();
        let field = head.split("\r\n").find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        });
        field.unwrap_or_default()
    }

    /// The message with its quoted-printable parts (RFC 2045 section 6.7) readable.
    #[must_use]
    pub fn text(&self) -> String {
        let joined = self.data.replace("=\r\n", "");
        let mut bytes = Vec::with_capacity(joined.len());
        let mut rest = joined.as_bytes();
        while let [first, others @ ..] = rest {
            let escaped = (*first == b'=').then(|| others.get(..2)).flatten();
            let byte = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
            bytes.push(byte.unwrap_or(*first));
            rest = if byte.is_some() { others.get(2..).unwrap_or_default() } else { others };
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The token in its link; empty where there is none.
    #[must_use]
    pub fn token(&self) -> String {
        let text = self.text();
        let begin = text.find("avm_").unwrap_or(text.len());
        let token: String = text
            .get(begin..)
            .unwrap_or_default()
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
            .collect();
        secrecy::note_link(&token);
        token
    }
}

/// The server. It is down from the moment this is dropped.
#[derive(Debug)]
pub struct Smtp {
    port: u16,
    state: Arc<State>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct State {
    manner: Mutex<Manner>,
    letters: Mutex<Vec<Letter>>,
    open: Mutex<Vec<TcpStream>>,
    is_up: AtomicBool,
    /// Messages that were begun, taken or not.
    tried: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Smtp {
    /// A server that is up and takes everything.
    ///
    /// # Errors
    /// The system's.
    pub fn start() -> Result<Self, HarnessError> {
        let server = Self::start_down()?;
        server.up()?;
        Ok(server)
    }

    /// A server that is down.
    ///
    /// # Errors
    /// The system's.
    pub fn start_down() -> Result<Self, HarnessError> {
        let port = port::free().map_err(HarnessError::io("looking for a free port"))?;
        let state = State {
            manner: Mutex::new(Manner::Take),
            letters: Mutex::default(),
            open: Mutex::default(),
            is_up: AtomicBool::new(false),
            tried: AtomicUsize::new(0),
        };
        Ok(Self { port, state: Arc::new(state), accepting: Mutex::new(None) })
    }

    /// Where it listens, or would.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Treats what comes from now on otherwise.
    pub fn set(&self, manner: Manner) {
        *lock(&self.state.manner) = manner;
    }

    /// What was taken so far.
    #[must_use]
    pub fn letters(&self) -> Vec<Letter> {
        lock(&self.state.letters).clone()
    }

    /// How many messages were begun so far, taken or not.
    #[must_use]
    pub fn tried(&self) -> usize {
        self.state.tried.load(Ordering::SeqCst)
    }

    /// What was taken, once it is so many.
    ///
    /// # Errors
    /// When it is not within a minute.
    pub async fn wait_for(&self, count: usize) -> Result<Vec<Letter>, HarnessError> {
        let patience = Duration::from_secs(60);
        let begun = Instant::now();
        loop {
            let letters = self.letters();
            if letters.len() >= count {
                return Ok(letters);
            }
            if begun.elapsed() > patience {
                let output = format!("{} letters instead of {count}", letters.len());
                return Err(HarnessError::Late { program: "the SMTP server".to_owned(), after: patience, output });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Takes connections again.
    ///
    /// # Errors
    /// The system's.
    pub fn up(&self) -> Result<(), HarnessError> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).map_err(HarnessError::io("listening for mails"))?;
        let state = Arc::clone(&self.state);
        state.is_up.store(true, Ordering::SeqCst);
        *lock(&self.accepting) = Some(thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if !state.is_up.load(Ordering::SeqCst) {
                    return;
                }
                lock(&state.open).extend(stream.try_clone());
                let state = Arc::clone(&state);
                // Whoever is spoken to may hang up at any moment.
                thread::spawn(move || drop(serve(&stream, &state)));
            }
        }));
        Ok(())
    }

    /// Cuts all connections, and takes none.
    pub fn down(&self) {
        self.state.is_up.store(false, Ordering::SeqCst);
        if let Some(accepting) = lock(&self.accepting).take() {
            // Wakes the one that waits for connections.
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
            let _ = accepting.join();
        }
        for stream in lock(&self.state.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.down();
    }
}

fn serve(stream: &TcpStream, state: &State) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let say = |text: &str| (&mut &*stream).write_all(format!("{text}\r\n").as_bytes());
    let (mut from, mut to) = (String::new(), String::new());
    say("220 sink.test ESMTP")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let address = || {
            let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
            inner.map_or_else(String::new, |(address, _)| address.to_owned())
        };
        let manner = lock(&state.manner).clone();
        match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" => say("250-sink.test\r\n250-8BITMIME\r\n250 SMTPUTF8")?,
            "MAIL" => {
                state.tried.fetch_add(1, Ordering::SeqCst);
                from = address();
                let answer = if manner == Manner::Later { "451 4.3.2 later" } else { "250 2.1.0 ok" };
                say(answer)?;
            }
            "RCPT" => {
                to = address();
                match manner {
                    Manner::LaterFor(later) if later == to => say(&format!("451 4.7.1 <{to}>: later"))?,
                    Manner::Denied => say(&format!("554 5.7.1 <{to}>: relay access denied"))?,
                    Manner::Refuse(refused) if refused == to => say(&format!("550 5.1.1 <{to}>: no such mailbox"))?,
                    _ => say("250 2.1.5 ok")?,
                }
            }
            "DATA" => {
                say("354 go on")?;
                if manner == Manner::HangUp {
                    reader.read_line(&mut line)?;
                    return stream.shutdown(Shutdown::Both);
                }
                let data = message(&mut reader)?;
                if let Manner::Slow(wait) = manner {
                    thread::sleep(wait);
                }
                lock(&state.letters).push(Letter { from: from.clone(), to: to.clone(), data });
                say("250 2.0.0 taken")?;
            }
            "NOOP" | "RSET" => say("250 2.0.0 ok")?,
            "QUIT" => return say("221 2.0.0 bye"),
            _ => say("502 5.5.1 not here")?,
        }
    }
}

/// Reads a message to the line with the dot (RFC 5321 section 4.5.2).
fn message(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut data = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == ".\r\n" {
            return Ok(data);
        }
        data.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}
