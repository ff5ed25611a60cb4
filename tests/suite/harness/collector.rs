//! A collector of traces: it takes OTLP over HTTP and keeps the spans.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Listens until it is dropped.
pub struct Collector {
    address: String,
    spans: Arc<Mutex<Vec<Span>>>,
    listening: JoinHandle<()>,
}

/// A span as it was sent. Ids are hexadecimal; of a span without a parent, the parent is empty.
#[derive(Debug, Clone)]
pub struct Span {
    pub service: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    /// 1 internal, 2 server, 3 client.
    pub kind: i32,
    /// 2 is an error.
    pub status: i32,
    /// Values as texts.
    pub attributes: BTreeMap<String, String>,
    /// Traces and spans.
    pub links: Vec<(String, String)>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let kept = Arc::clone(&spans);
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(take(stream, Arc::clone(&kept)));
            }
        });
        Self { address, spans, listening }
    }

    /// The endpoint for the program's settings.
    pub fn url(&self) -> &str {
        &self.address
    }

    /// All spans that it got.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Takes requests from one connection until it ends.
async fn take(stream: TcpStream, spans: Arc<Mutex<Vec<Span>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut length, mut kind, mut first) = (0, String::new(), String::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            match line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())) {
                Some((name, value)) if name == "content-length" => length = value.parse().unwrap(),
                Some((name, value)) if name == "content-type" => kind = value,
                _ if first.is_empty() => line.clone_into(&mut first),
                _ => {}
            }
        }
        assert_eq!((first.as_str(), kind.as_str()), ("POST /v1/traces HTTP/1.1", "application/x-protobuf"));
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        spans.lock().unwrap().extend(decode(&body));
        let done = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        if stream.write_all(done.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn decode(body: &[u8]) -> Vec<Span> {
    let sent = ExportTraceServiceRequest::decode(body).unwrap();
    let mut spans = Vec::new();
    for resource in sent.resource_spans {
        let service = attributes(&resource.resource.unwrap().attributes).remove("service.name").unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            assert!(span.events.is_empty(), "what is logged is none of the collector's business: {span:?}");
            spans.push(Span {
                service: service.clone(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                kind: span.kind,
                status: span.status.map_or(0, |status| status.code),
                attributes: attributes(&span.attributes),
                links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
            });
        }
    }
    spans
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        other => format!("{other:?}"),
    };
    let value = |one: &KeyValue| one.value.as_ref().and_then(|value| value.value.as_ref()).map(text);
    list.iter().map(|one| (one.key.clone(), value(one).unwrap_or_default())).collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The spans within this one, itself included.
pub fn within<'a>(spans: &'a [Span], outer: &Span) -> Vec<&'a Span> {
    let mut ids = HashSet::from([outer.id.as_str()]);
    loop {
        let before = ids.len();
        let inner = spans.iter().filter(|span| span.trace == outer.trace && ids.contains(span.parent.as_str()));
        let inner: Vec<_> = inner.map(|span| span.id.as_str()).collect();
        ids.extend(inner);
        if ids.len() == before {
            return spans.iter().filter(|span| span.trace == outer.trace && ids.contains(span.id.as_str())).collect();
        }
    }
}
