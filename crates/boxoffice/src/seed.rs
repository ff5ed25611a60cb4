//! The people and events of a demonstration.
//!
//! Everything goes through the use cases, so it obeys the same rules as the bookings of users and may
//! run beside a server. What is there already is left as it is: people are known by their address,
//! events by title and venue, bookings by person and event. An event carries an idempotency key, so
//! that two seeds at once plant it once.

use std::collections::HashSet;

use anyhow::Context;
use application::{Admin, SignUp, SignUpError, SignedIn};
use chrono::{Days, NaiveTime};
use domain::ports::{BookError, Clock, CreateEventError, RegistrationFilter};
use domain::{
    BookingRefused, Description, EmailAddress, Event, EventDraft, EventFilter, EventId, EventTitle, Fingerprint,
    IdempotencyKey, Invalid, KeyConflict, Once, PageRequest, Password, PersonName, SeatCount, StartsAt, Timestamp,
    TitleSearch, User, Venue,
};
use sha2::{Digest, Sha256};

use crate::app::UseCases;

/// The password of every demonstration account, unless another is asked for.
pub(crate) const PASSWORD: &str = "box-office-demo";

const ADMIN: Person = Person { name: "Box Office", email: "admin@example.com" };

/// The guests, in the order in which they book.
const GUESTS: [Person; 8] = [
    Person { name: "Ada Lovelace", email: "ada@example.com" },
    Person { name: "Ελένη Παπαδοπούλου", email: "eleni@example.com" },
    Person { name: "王小明", email: "xiaoming@example.com" },
    Person { name: "Zoë Müller", email: "zoe@example.com" },
    Person { name: "Олена Шевченко", email: "olena@example.com" },
    Person { name: "José Ñúñez", email: "jose@example.com" },
    Person { name: "佐藤 花子", email: "hanako@example.com" },
    Person { name: "ليلى حداد", email: "layla@example.com" },
];

struct Person {
    name: &'static str,
    email: &'static str,
}

struct Show {
    title: &'static str,
    venue: &'static str,
    seats: u32,
    /// How many of the guests book it.
    guests: usize,
    description: Option<&'static str>,
}

const fn show(title: &'static str, venue: &'static str, seats: u32) -> Show {
    Show { title, venue, seats, guests: 0, description: None }
}

impl Show {
    const fn about(self, description: &'static str) -> Self {
        Self { description: Some(description), ..self }
    }

    const fn booked_by(self, guests: usize) -> Self {
        Self { guests, ..self }
    }
}

/// The programme, in the order of its dates.
const SHOWS: [Show; 36] = [
    show("Ein Sommernachtstraum", "Kellertheater, Köln", 8)
        .booked_by(7)
        .about("Shakespeare auf vierzig Quadratmetern.\nOne seat is left: who is quicker?"),
    show("Winterreise", "Wigmore Hall, London", 552).booked_by(3),
    show("École du soir: improvisation", "Café de la Gare, Paris", 6)
        .booked_by(6)
        .about("Six places, et pas une de plus. Sold out: to see what that looks like."),
    show("東京ジャズナイト", "ブルーノート東京", 300).booked_by(2).about("第一部 18:00、第二部 21:00。"),
    show("Ελλάδα: songs of the islands", "Ηρώδειον, Αθήνα", 4680).booked_by(4),
    show("Rust for the Impatient", "The Workshop, Utrecht", 24).booked_by(5),
    show("Лебединое озеро", "Большой театр", 1740),
    show("ليالي الأندلس", "دار الأوبرا، القاهرة", 1200).booked_by(1),
    show("Match of the Season", "Estádio do Maracanã", 78_838),
    show("Open Air: Nine Bands, One Field", "Roskilde", 130_000).about("Bring boots."),
    show("The Smallest Concert in the World", "A lift, Gothenburg", 1)
        .booked_by(1)
        .about("One musician, one listener, eleven floors."),
    show("Die Zauberflöte", "Staatsoper, Wien", 1709).booked_by(2),
    show("Straßenkunst 100 % live", "Marktplatz, Graz", 400).about("Free hats for everybody who brings one."),
    show("서울 국악 한마당", "국립국악원, 서울", 730),
    show("Chess in the Park", "Parc La Grange, Genève", 64).booked_by(3),
    show("Night of the Proms", "Sportpaleis, Antwerpen", 23_359),
    show("A Table for Two", "Trattoria da Nino, Bologna", 2).booked_by(2).about("Seven courses and no telephone."),
    show("Día de los Muertos", "Zócalo, Ciudad de México", 50_000).booked_by(1),
    show("महाभारत: a reading in nine nights", "पृथ्वी थिएटर, मुंबई", 200),
    show("Żywioły", "Filharmonia Narodowa, Warszawa", 1072),
    show("Museum by Torchlight", "Teylers Museum, Haarlem", 15).booked_by(5),
    show("Écoute!", "Auditorium Maurice-Ravel, Lyon", 2120),
    show("İstanbul Caz Festivali", "Harbiye, İstanbul", 4000),
    show("Half-Marathon of the Lakes", "Wanaka", 2500).booked_by(2),
    show("תיאטרון בובות", "תיאטרון הקרון, ירושלים", 110),
    show("Silent Disco_2", "Silo City, Buffalo", 600)
        .about("The name has an underscore, so that searches can be tried."),
    show("Kalevala", "Musiikkitalo, Helsinki", 1704),
    show("Nhạc nước", "Nhà hát múa rối Thăng Long, Hà Nội", 270),
    show("O'Brien & Daughters: \"Reel\"", "The Cobblestone, Dublin", 60).booked_by(4),
    show("ลิเกร่วมสมัย", "ศูนย์วัฒนธรรม กรุงเทพฯ", 500),
    show("Þorrablót", "Harpa, Reykjavík", 180),
    show("Poetry at the Laundrette", "Suds, Melbourne", 12).booked_by(8),
    show("Messiah, Come and Sing", "Royal Albert Hall, London", 5272).booked_by(1),
    show("Fado ao fim da tarde", "Tasca do Chico, Lisboa", 20),
    show("🎪 Le Cirque des Petits", "Chapiteau, Namur", 350).about("From three years on. 🤹"),
    show("The Last Night", "Teatro La Fenice, Venezia", 1000).booked_by(6),
];

/// The days between one show and the next: so the programme fills the coming year.
const DAYS_BETWEEN: u64 = 10;
/// The days until the first.
const DAYS_AHEAD: u64 = 3;
/// When shows begin, in turn.
const HOURS: [u32; 5] = [20, 19, 11, 21, 15];

/// What a demonstration has, and how much of it is new.
pub(crate) struct Planted {
    /// Its users, and whether they log in with the password that was asked for: an account
    /// that was there before may have one of its own.
    pub(crate) people: Vec<(User, bool)>,
    /// The events that were put on the programme just now.
    pub(crate) new_events: u32,
    /// The seats that were booked just now.
    pub(crate) new_bookings: u32,
}

/// Plants what is not there yet.
pub(crate) async fn plant(use_cases: &UseCases, password: &Password, clock: &dyn Clock) -> anyhow::Result<Planted> {
    let email = EmailAddress::parse(ADMIN.email)?;
    let sign_up = SignUp { name: PersonName::parse(ADMIN.name)?, email, password: password.clone() };
    let admin = use_cases.accounts.ensure_admin(sign_up).await.with_context(|| format!("seed: {}", ADMIN.email))?;
    let proof = use_cases.access.admin(&token(use_cases, &admin, clock)?).await?;
    let mut planted = Planted { people: Vec::new(), new_events: 0, new_bookings: 0 };
    planted.people.push(proved(use_cases, admin, password).await?);
    let mut guests = Vec::new();
    for person in &GUESTS {
        let user = guest(use_cases, person, password).await?;
        guests.push(Guest::of(use_cases, &user, clock).await?);
        planted.people.push(proved(use_cases, user, password).await?);
    }
    for (number, show) in (0_u64..).zip(&SHOWS) {
        let (event, is_new) = event(use_cases, proof, show, number, clock.now()).await?;
        planted.new_events += u32::from(is_new);
        for guest in &guests[..show.guests] {
            planted.new_bookings += u32::from(guest.book(use_cases, event.id).await?);
        }
    }
    Ok(planted)
}

/// A user who books.
struct Guest {
    proof: SignedIn,
    /// The events they have booked before, given back or not.
    known: HashSet<EventId>,
}

impl Guest {
    async fn of(use_cases: &UseCases, user: &User, clock: &dyn Clock) -> anyhow::Result<Self> {
        let proof = use_cases.access.signed_in(&token(use_cases, user, clock)?).await?;
        let page = PageRequest { number: 1, size: 1000 };
        let bookings = use_cases.bookings.mine(proof, RegistrationFilter::default(), page).await?;
        let known = bookings.rows.into_iter().map(|booking| booking.event.id).collect();
        Ok(Self { proof, known })
    }

    /// Books a seat; answers whether that changed anything.
    async fn book(&self, use_cases: &UseCases, event: EventId) -> anyhow::Result<bool> {
        if self.known.contains(&event) {
            return Ok(false);
        }
        match use_cases.bookings.book(self.proof.into(), None, event).await {
            Ok(_) => Ok(true),
            // Another user was first, the show is over, or an admin took it off.
            Err(
                BookError::Refused(
                    BookingRefused::AlreadyRegistered | BookingRefused::SoldOut | BookingRefused::Started,
                )
                | BookError::EventNotFound,
            ) => Ok(false),
            Err(error) => Err(error).context("seed: a seat could not be booked"),
        }
    }
}

/// The account of this person, made if there is none.
async fn guest(use_cases: &UseCases, person: &Person, password: &Password) -> anyhow::Result<User> {
    let email = EmailAddress::parse(person.email)?;
    if let Some(found) = use_cases.users.credentials(&email).await? {
        return Ok(found.user);
    }
    let name = PersonName::parse(person.name)?;
    match use_cases.accounts.sign_up(SignUp { name, email: email.clone(), password: password.clone() }).await {
        Ok(grant) => Ok(grant.user),
        // Another seed was quicker.
        Err(SignUpError::EmailTaken) => {
            let found = use_cases.users.credentials(&email).await?;
            Ok(found.with_context(|| format!("seed: {email} was there a moment ago"))?.user)
        }
        Err(error) => Err(error).with_context(|| format!("seed: {email}")),
    }
}

/// The user, and whether this is their password.
async fn proved(use_cases: &UseCases, user: User, password: &Password) -> anyhow::Result<(User, bool)> {
    let turn = use_cases.passwords.queue()?;
    let hash = use_cases.users.credentials(&user.email).await?.map(|found| found.password);
    let proved = use_cases.passwords.verify(turn, password.expose(), hash).await?;
    Ok((user, proved))
}

fn token(use_cases: &UseCases, user: &User, clock: &dyn Clock) -> anyhow::Result<String> {
    let issued = use_cases.tokens.issue(user, clock.now());
    Ok(issued.map_err(|cause| anyhow::anyhow!("seed: a token could not be made: {cause}"))?.text)
}

/// The event of this show, and whether it was put on the programme just now.
async fn event(
    use_cases: &UseCases,
    admin: Admin,
    show: &Show,
    number: u64,
    now: Timestamp,
) -> anyhow::Result<(Event, bool)> {
    let context = || format!("seed: {}", show.title);
    let draft = draft(show, number, now).with_context(context)?;
    if let Some(event) = find(use_cases, &draft).await? {
        return Ok((event, false));
    }
    let once = once(show).with_context(context)?;
    match use_cases.catalogue.create(admin, Some(once), draft.clone()).await {
        Ok(created) => Ok((created.outcome, !created.replayed)),
        Err(CreateEventError::Key(KeyConflict::InProgress)) => {
            let found = find(use_cases, &draft).await?;
            Ok((found.context("another seed is at work: repeat this one when it has ended")?, false))
        }
        Err(error) => Err(error).with_context(context),
    }
}

async fn find(use_cases: &UseCases, draft: &EventDraft) -> anyhow::Result<Option<Event>> {
    let filter = EventFilter { search: TitleSearch::parse(draft.title.as_str())?, ..EventFilter::default() };
    let page = use_cases.catalogue.list(&filter, PageRequest { number: 1, size: 100 }).await?;
    Ok(page.rows.iter().find(|event| event.title == draft.title && event.venue == draft.venue).cloned())
}

fn draft(show: &Show, number: u64, now: Timestamp) -> anyhow::Result<EventDraft> {
    let hour = HOURS[usize::try_from(number)? % HOURS.len()];
    let day = now.as_datetime().date_naive() + Days::new(DAYS_AHEAD + number * DAYS_BETWEEN);
    let time = NaiveTime::from_hms_opt(hour, 0, 0).context("the hour is on no clock")?;
    Ok(EventDraft {
        title: EventTitle::parse(show.title)?,
        description: show.description.map(Description::parse).transpose()?,
        starts_at: StartsAt::new(Timestamp::new(day.and_time(time).and_utc()), now)?,
        venue: Venue::parse(show.venue)?,
        total_seats: SeatCount::new(u64::from(show.seats))?,
    })
}

/// The key of a show. Its fingerprint leaves the date out, which is another tomorrow.
fn once(show: &Show) -> Result<Once, Invalid> {
    let named = Sha256::new().chain_update(show.title).chain_update([0]).chain_update(show.venue);
    let print: [u8; 32] = named.finalize().into();
    let key = print.iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    Ok(Once { key: IdempotencyKey::parse(&format!("seed-{key:032x}"))?, fingerprint: Fingerprint::new(print) })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::sync::Arc;

    use domain::ports::Audit;

    use super::*;
    use crate::app;
    use crate::clock::SystemClock;
    use crate::settings::{Purpose, Settings};

    fn drafts() -> Vec<EventDraft> {
        let now = Timestamp::parse("2030-01-31T23:59:59.999999Z").unwrap();
        (0_u64..).zip(&SHOWS).map(|(number, show)| draft(show, number, now).unwrap()).collect()
    }

    #[test]
    fn every_person_and_show_passes_the_doors() {
        for person in GUESTS.iter().chain([&ADMIN]) {
            PersonName::parse(person.name).unwrap();
            EmailAddress::parse(person.email).unwrap();
        }
        Password::parse(PASSWORD).unwrap();
        assert_eq!(drafts().len(), 36);
        assert!(SHOWS.iter().all(|show| once(show).is_ok()));
    }

    #[test]
    fn nothing_is_there_twice() {
        let addresses: HashSet<_> = GUESTS.iter().chain([&ADMIN]).map(|person| person.email).collect();
        assert_eq!(addresses.len(), GUESTS.len() + 1);
        let shows: HashSet<_> = SHOWS.iter().map(|show| once(show).unwrap().key).collect();
        assert_eq!(shows.len(), SHOWS.len());
    }

    #[test]
    fn shows_are_spread_over_the_coming_year() {
        let first = drafts()[0].starts_at.get();
        let last = drafts()[35].starts_at.get();
        assert_eq!(first.to_string(), "2030-02-03T20:00:00Z");
        assert_eq!(last.to_string(), "2031-01-19T20:00:00Z");
        assert!(drafts().is_sorted_by_key(|draft| draft.starts_at.get()));
    }

    #[test]
    fn some_are_sold_out_and_one_nearly() {
        let left = |show: &Show| show.seats - u32::try_from(show.guests).unwrap();
        assert!(SHOWS.iter().all(|show| show.guests <= GUESTS.len() && show.guests <= show.seats as usize));
        assert_eq!(SHOWS.iter().filter(|show| left(show) == 0).count(), 3);
        assert_eq!(SHOWS.iter().filter(|show| left(show) == 1).count(), 1);
        assert!(SHOWS.iter().any(|show| show.seats > 100_000));
    }

    #[tokio::test]
    async fn planting_twice_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}/box.db", home.path().display());
        let variables = [("DATABASE_URL", database.as_str()), ("BCRYPT_COST", "4"), ("DATABASE_POOL_SIZE", "2")];
        let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let settings = Settings::load(Purpose::Operate, variables, home.path()).unwrap();
        let clock = Arc::new(SystemClock);
        let sql = app::connect(&settings, clock.clone()).await.unwrap();
        app::ensure_migrated(&settings, &sql).await.unwrap();
        let use_cases = UseCases::for_operator(&settings, &sql, clock.clone()).unwrap();

        let first = plant(&use_cases, &Password::parse(PASSWORD).unwrap(), clock.as_ref()).await.unwrap();
        let seats: usize = SHOWS.iter().map(|show| show.guests).sum();
        assert_eq!((first.new_events, first.new_bookings as usize), (36, seats));
        assert!(first.people.iter().all(|(_, proved)| *proved));

        let other = Password::parse("another password").unwrap();
        let second = plant(&use_cases, &other, clock.as_ref()).await.unwrap();
        assert_eq!((second.new_events, second.new_bookings), (0, 0));
        assert_eq!(second.people.len(), GUESTS.len() + 1);
        assert!(second.people.iter().all(|(_, proved)| !proved), "no password was changed");
        assert!(sql.inconsistencies().await.unwrap().is_empty());
        sql.close().await;
    }
}
