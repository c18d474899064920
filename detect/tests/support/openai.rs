//! A loopback server that plays both of OpenAI's endpoints, and every fault.

#![allow(dead_code, reason = "the tests of two crates include this file, and each uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// A question as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// Header lines, names in lower case.
    pub(crate) headers: String,
    pub(crate) body: Value,
    /// How many came before it.
    pub(crate) number: usize,
}

/// What is sent back.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// 200 and this JSON.
    Json(Value),
    /// 200 and this text.
    Text(String),
    /// A status with further header lines (each ended by `\r\n`) and a body.
    Status(u16, &'static str, String),
    /// Half of this JSON, though its whole length was announced.
    Cut(Value),
    /// Nothing for that long.
    Hang(Duration),
    /// The honest answer, late.
    Late(Duration),
    /// The connection is closed without a word.
    Drop,
}

/// A server that lives as long as the test's process.
pub(crate) struct Mock {
    pub(crate) address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    asked: Mutex<Vec<Asked>>,
    now: AtomicUsize,
    peak: AtomicUsize,
}

impl Mock {
    /// Answers every `POST` with what `reply` says of it, and `GET /v1/models` with one model, `m`, of that owner.
    pub(crate) fn owned_by(owner: &'static str, reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (state, reply) = (Arc::new(State::default()), Arc::new(reply));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, reply) = (Arc::clone(&shared), Arc::clone(&reply));
                thread::spawn(move || drop(answer(&stream, owner, &state, reply.as_ref())));
            }
        });
        Self { address, state }
    }

    /// As [`Mock::owned_by`], of nobody.
    pub(crate) fn start(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::owned_by("test", reply)
    }

    /// One that always answers.
    pub(crate) fn honest() -> Self {
        Self::start(|asked| Reply::Json(honest(asked)))
    }

    /// Every question so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Most questions that were open at once.
    pub(crate) fn peak(&self) -> usize {
        self.state.peak.load(Ordering::SeqCst)
    }
}

fn answer(stream: &TcpStream, owner: &str, state: &State, reply: &dyn Fn(&Asked) -> Reply) -> std::io::Result<()> {
    let Some((path, headers, body)) = read(stream)? else { return Ok(()) };
    if path == "/v1/models" {
        return send(stream, 200, "", &json!({ "data": [{ "id": "m", "owned_by": owner }] }).to_string());
    }
    let number = { state.asked.lock().unwrap().len() };
    let asked = Asked { path, headers, body: serde_json::from_slice(&body).unwrap_or_default(), number };
    state.asked.lock().unwrap().push(asked.clone());
    state.peak.fetch_max(state.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    let reply = reply(&asked);
    if let Reply::Hang(time) | Reply::Late(time) = reply {
        thread::sleep(time);
    }
    // Before the answer: who has it may ask the next question at once.
    state.now.fetch_sub(1, Ordering::SeqCst);
    respond(stream, &asked, reply)
}

fn read(stream: &TcpStream) -> std::io::Result<Option<(String, String, Vec<u8>)>> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut headers) = (String::new(), String::new());
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        headers.push_str(&line.to_lowercase());
    }
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length:")).and_then(|value| value.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(first.split(' ').nth(1).map(|path| (path.to_owned(), headers, body)))
}

fn respond(stream: &TcpStream, asked: &Asked, reply: Reply) -> std::io::Result<()> {
    match reply {
        Reply::Json(value) => send(stream, 200, "", &value.to_string()),
        Reply::Text(text) => send(stream, 200, "", &text),
        Reply::Status(status, headers, body) => send(stream, status, headers, &body),
        Reply::Cut(value) => {
            let text = value.to_string();
            write!(&*stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}", text.len(), &text[..text.len() / 2])
        }
        Reply::Late(_) => send(stream, 200, "", &honest(asked).to_string()),
        Reply::Hang(_) | Reply::Drop => Ok(()),
    }
}

fn send(mut stream: &TcpStream, status: u16, headers: &str, body: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

/// What was asked for, in words.
pub(crate) fn prompt(asked: &Asked) -> String {
    let last = asked.body["messages"].as_array().and_then(|messages| messages.last()).map(|message| &message["content"]);
    last.unwrap_or(&asked.body["prompt"]).as_str().unwrap_or_default().to_owned()
}

/// The answer to any question: `On P`, or `Idea S on P` where a temperature is set, S being the seed of each answer.
pub(crate) fn honest(asked: &Asked) -> Value {
    let (count, seed) = (asked.body["n"].as_u64().unwrap_or(1), asked.body["seed"].as_u64().unwrap_or(0));
    let greedy = asked.body["temperature"].as_f64() == Some(0.0);
    let text = |place: u64| if greedy { format!("On {}", prompt(asked)) } else { format!("Idea {} on {}", seed + place, prompt(asked)) };
    let texts: Vec<String> = (0..count).map(text).collect();
    saying(asked, &texts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// These answers, in the shape of the endpoint that was asked: a token for each word with the blank before it, the k-th of log-probability
/// -k / 10, and one alternative, ` other`, of -3.
pub(crate) fn saying(asked: &Asked, texts: &[&str]) -> Value {
    let wanted = asked.body["logprobs"].as_bool().unwrap_or(!asked.body["logprobs"].is_null());
    let chat = asked.path.ends_with("/chat/completions");
    let choice = |(index, text): (usize, &&str)| {
        let logprobs = if wanted { traced(text, chat) } else { Value::Null };
        let mut choice = json!({ "index": index, "finish_reason": "stop", "logprobs": logprobs });
        if chat {
            choice["message"] = json!({ "role": "assistant", "content": text });
        } else {
            choice["text"] = (*text).into();
        }
        choice
    };
    json!({ "object": "whatever", "choices": texts.iter().enumerate().map(choice).collect::<Vec<_>>() })
}

fn traced(text: &str, chat: bool) -> Value {
    let words: Vec<String> =
        text.split(' ').enumerate().map(|(at, word)| if at == 0 { word.to_owned() } else { format!(" {word}") }).collect();
    let logprob = |at: usize| -0.1 * (at + 1) as f64;
    if chat {
        let token = |(at, word): (usize, &String)| {
            json!({ "token": word, "logprob": logprob(at), "bytes": word.as_bytes(), "top_logprobs": [
                { "token": word, "logprob": logprob(at), "bytes": word.as_bytes() }, { "token": " other", "logprob": -3.0, "bytes": b" other" }] })
        };
        return json!({ "content": words.iter().enumerate().map(token).collect::<Vec<_>>() });
    }
    let numbers: Vec<f64> = (0..words.len()).map(logprob).collect();
    let tops: Vec<Value> = words.iter().zip(&numbers).map(|(word, &logprob)| json!({ " other": -3.0, word: logprob })).collect();
    json!({ "tokens": words, "token_logprobs": numbers, "top_logprobs": tops, "text_offset": [] })
}
