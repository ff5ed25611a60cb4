//! Clients that book, cancel and read, and keep their requests and answers.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ledger::{Entry, Outcome, Wish};
use crate::harness::dice::Dice;
use crate::harness::server::{Answer, Instance, PASSWORD, Person};

/// The timeout of a client, far above the longest time that an answer may take.
const PATIENCE: Duration = Duration::from_secs(25);

/// How many users book and cancel.
const PEOPLE: usize = 8;

/// How long a client thinks between two requests, in milliseconds.
const PACE_MS: usize = 80;

/// Clients that send requests until they are stopped. Then they know the outcome of each of their writes.
pub struct Crowd {
    shared: Arc<Shared>,
    people: JoinSet<()>,
}

struct Shared {
    instances: Vec<Arc<Instance>>,
    events: Vec<u64>,
    entries: Mutex<Vec<Entry>>,
    goes_home: AtomicBool,
}

/// One client, which picks an instance for each request.
struct Client {
    shared: Arc<Shared>,
    person: Person,
    dice: Dice,
}

impl Crowd {
    /// Starts clients of new users and of the admin, for these instances and events.
    pub async fn gather(instances: &[Arc<Instance>], events: &[u64], admin: &Person, dice: &mut Dice) -> Self {
        let entries = Mutex::default();
        let (instances, events) = (instances.to_vec(), events.to_vec());
        let shared = Arc::new(Shared { instances, events, entries, goes_home: AtomicBool::new(false) });
        let mut people = JoinSet::new();
        for person in shared.instances[0].people(PEOPLE).await {
            let client = Client { shared: Arc::clone(&shared), person, dice: dice.another() };
            people.spawn(client.book_and_cancel());
        }
        for turn in 0..shared.instances.len() {
            let client = Client { shared: Arc::clone(&shared), person: admin.clone(), dice: dice.another() };
            people.spawn(client.send_operator_requests(turn));
        }
        Self { shared, people }
    }

    /// All requests and answers until now.
    pub fn so_far(&self) -> Vec<Entry> {
        self.shared.entries.lock().unwrap().clone()
    }

    /// Stops all clients after their present request, and returns all requests and answers.
    pub async fn finish(mut self) -> Vec<Entry> {
        self.shared.goes_home.store(true, Ordering::SeqCst);
        while let Some(gone) = self.people.join_next().await {
            gone.unwrap();
        }
        self.so_far()
    }
}

impl Client {
    fn goes_on(&self) -> bool {
        !self.shared.goes_home.load(Ordering::SeqCst)
    }

    async fn book_and_cancel(mut self) {
        while self.goes_on() {
            let event = self.dice.pick(&self.shared.events);
            let key = new_key();
            let wish = match self.dice.below(10) {
                0..=3 => Wish::Book { event, key },
                4..=5 => Wish::Cancel { event, key },
                6..=8 => Wish::Look { event },
                _ => Wish::Mine,
            };
            while self.ask(&wish).await == InDoubt::Yes {
                self.think().await;
            }
            self.think().await;
        }
    }

    /// The requests of an admin, and of an operator's machines, to one instance.
    async fn send_operator_requests(mut self, turn: usize) {
        for round in 0.. {
            if !self.goes_on() {
                return;
            }
            for name in ["live", "ready", "list", "edit", "log in"].into_iter().take(if round % 4 == 0 { 5 } else { 3 })
            {
                let instance = Arc::clone(&self.shared.instances[turn]);
                self.ask_of(&instance, &Wish::Other(name)).await;
                self.think().await;
            }
        }
    }

    async fn think(&mut self) {
        // The pause of a client between two requests.
        sleep(Duration::from_millis((PACE_MS / 2 + self.dice.below(PACE_MS)) as u64)).await;
    }

    async fn ask(&mut self, wish: &Wish) -> InDoubt {
        let instance = self.dice.pick(&self.shared.instances);
        self.ask_of(&instance, wish).await
    }

    async fn ask_of(&self, instance: &Instance, wish: &Wish) -> InDoubt {
        let entry = ask(instance, &self.person, &self.shared.events, wish).await;
        let writes = matches!(wish, Wish::Book { .. } | Wish::Cancel { .. });
        let doubt = matches!(entry.outcome, Outcome::Unavailable(_) | Outcome::Unknown | Outcome::Broken(_));
        self.shared.entries.lock().unwrap().push(entry);
        if writes && doubt { InDoubt::Yes } else { InDoubt::No }
    }
}

/// Whether a write has to be repeated because its outcome is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InDoubt {
    Yes,
    No,
}

/// A new idempotency key.
pub fn new_key() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("wish-{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Sends one request, and returns it with its outcome.
pub async fn ask(instance: &Instance, person: &Person, events: &[u64], wish: &Wish) -> Entry {
    let register = |event| format!("/api/events/{event}/register");
    let request = match wish {
        Wish::Book { event, key } => {
            instance.request(reqwest::Method::POST, &register(event)).header("Idempotency-Key", key)
        }
        Wish::Cancel { event, key } => instance.delete(&register(event)).header("Idempotency-Key", key),
        Wish::Look { event } => instance.get(&format!("/api/events/{event}")),
        Wish::Mine => instance.get("/api/users/me/registrations?status=confirmed&limit=1000"),
        Wish::Other("live") => instance.get("/health/live"),
        Wish::Other("ready") => instance.get("/health/ready"),
        Wish::Other("list") => instance.get("/api/events?limit=100"),
        Wish::Other("edit") => {
            instance.put(&format!("/api/events/{}", events[0]), &json!({ "venue": format!("Hall {}", new_key()) }))
        }
        Wish::Other(_) => instance.post("/api/auth/login", &json!({ "email": person.email, "password": PASSWORD })),
    };
    let open = matches!(wish, Wish::Look { .. } | Wish::Other("live" | "ready" | "list" | "log in"));
    let request = if open { request } else { request.by(person) };
    let asked = Instant::now();
    let answer = timeout(PATIENCE, request.try_send()).await;
    let ended = Instant::now();
    let outcome = match answer {
        Ok(Ok(answer)) => outcome(wish, &answer),
        Ok(Err(error)) => Outcome::Broken(format!("{error:?}")),
        Err(_) => Outcome::Broken("nothing was heard".to_owned()),
    };
    Entry { by: person.id, wish: wish.clone(), asked, ended, outcome }
}

fn outcome(wish: &Wish, answer: &Answer) -> Outcome {
    let number = |body: &Value, name: &str| body[name].as_u64().unwrap();
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match (answer.status, wish) {
        (200, Wish::Look { .. }) => Outcome::Seen {
            confirmed: number(&body, "registration_count"),
            available: number(&body, "available_seats"),
            total: number(&body, "total_seats"),
        },
        (200, Wish::Mine) => {
            let held = body.as_array().unwrap().iter();
            Outcome::Held(held.map(|held| (number(held, "event_id"), number(held, "id"))).collect())
        }
        (200 | 201, _) => Outcome::Done {
            registration: body["id"].as_u64().filter(|_| matches!(wish, Wish::Book { .. })),
            body: answer.body.clone(),
            replayed: answer.header("idempotent-replayed") == "true",
        },
        // The first request with the key is still under way.
        (409, _) if body["code"] == "idempotency_in_progress" => Outcome::Unavailable(retry_after(answer)),
        (409 | 404, Wish::Book { .. } | Wish::Cancel { .. }) => {
            Outcome::Refused(body["code"].as_str().unwrap_or_default().to_owned())
        }
        (503, Wish::Other("live")) => Outcome::Odd(503, answer.text()),
        (503, _) if body["code"] == "outcome_unknown" => Outcome::Unknown,
        (503, _) if body["code"] == "unavailable" => Outcome::Unavailable(retry_after(answer)),
        _ => Outcome::Odd(answer.status, answer.text()),
    }
}

fn retry_after(answer: &Answer) -> Option<u64> {
    answer.header("retry-after").parse().ok()
}
