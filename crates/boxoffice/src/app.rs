//! The wiring: every adapter behind its port, every use case over its ports, the server on top.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use adapter_crypto::{Bcrypt, Hs256Tokens};
use adapter_memory::{MemoryBodies, MemorySeatChanges};
use adapter_redis::{Redis, RedisBodies, RedisSeatChanges};
use adapter_sql::{Sql, SqlOptions};
use anyhow::{Context, anyhow, bail};
use api::admin::{AdminServices, Inside, serve_admin};
use api::{Draining, HttpOptions, Metrics, Services};
use application::{
    Access, Accounts, Catalogue, EnsureAdminError, HistoryReader, LiveSeats, Profile, SeatBookings, SignUp,
    WebhookRegistry,
};
use caching::{Bodies, Cache, CacheOptions, CachedEvents, CachedRegistrations, Seal, SharedUsers, Tiered};
use domain::ports::{Clock, Events, Leases, Passwords, Probe, Registrations, SeatChanges, StoreError, Tokens, Users};
use domain::{PersonName, User};
use secrecy::{ExposeSecret, SecretString};
#[cfg(target_os = "linux")]
use socket2::SockFilter;
use socket2::SockRef;
use tokio::net::{TcpSocket, lookup_host};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::channels::Channels;
use crate::data_folder;
use crate::jobs;
use crate::secret_file::random_secret;
use crate::settings::{Environment, Settings};
use crate::telemetry::{self, Gauges, TraceContext};
use crate::welcome::Welcome;

/// What an admin is called who was not given a name.
pub(crate) const ADMIN_NAME: &str = "Administrator";

/// Room for cached bodies in the process: some ten thousand events, or a thousand pages of them.
const BODIES_BYTES: u64 = 16 << 20;
/// Log-ins that may wait for a core, for each core: at the default cost, less than two seconds of work.
const WAITING_PER_CORE: usize = 32;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// Bytes that the system takes for a client before it has sent them: of a live stream, what waits is old
/// by the time it is read.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 16 << 10;
/// How long a client may leave what it was sent unacknowledged: then it is gone, whatever its connection
/// says.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_mins(1);
/// From the wish to stop until everything has stopped, at the latest; the last traces have two seconds more.
const STOP_WITHIN: Duration = Duration::from_secs(27);
/// How long before the listener closes no connection is made any more, so that those that were made are accepted.
const ACCEPT_WITHIN: Duration = Duration::from_millis(250);
/// How long giving up leases may take.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);
/// How long closing the database's connections may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// A server that is running.
pub struct Running {
    address: SocketAddr,
    shutdown_grace: Duration,
    draining: Draining,
    listener: TcpListener,
    handle: ServerHandle,
    server: JoinHandle<std::io::Result<()>>,
    jobs: JoinSet<()>,
    sql: Sql,
    admin: Option<AdminPort>,
    welcome: Welcome,
}

impl Running {
    /// Says where it serves, and what is left to do.
    pub(crate) fn announce(&self) {
        self.welcome.say();
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators are answered, if they have a port of their own.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Waits for the server to end by itself, which it never should.
    pub async fn ended(&mut self) -> anyhow::Error {
        match (&mut self.server).await {
            Ok(Ok(())) => anyhow!("the server stopped by itself"),
            Ok(Err(error)) => anyhow!(error).context("the server failed"),
            Err(error) => anyhow!(error).context("the server failed"),
        }
    }

    /// Stops: readiness says no at once; after the grace no connection is accepted any more, live
    /// streams end, every request in flight is answered, and the database is left in order. Ends within 30 s.
    pub async fn stop(mut self) {
        self.draining.begin();
        let accepting = ACCEPT_WITHIN.min(self.shutdown_grace);
        sleep(self.shutdown_grace.saturating_sub(accepting)).await;
        if let Err(error) = ignore_new_connections(&SockRef::from(&self.listener)) {
            tracing::warn!(%error, "connections made at the last moment may be cut off");
        }
        // The server has the same socket, which closes with its last holder.
        drop(self.listener);
        sleep(accepting).await;
        let stopping = self.handle.stop(true);
        self.draining.end_streams();
        if timeout(STOP_WITHIN.saturating_sub(self.shutdown_grace), stopping).await.is_err() {
            tracing::warn!("requests are still in flight: they are cut off");
            self.handle.stop(false).await;
        }
        self.jobs.shutdown().await;
        // Another instance goes on at once with what this one did.
        let released = timeout(RELEASE_WITHIN, self.sql.release_all()).await;
        if let Ok(Err(error)) = released {
            tracing::debug!(%error, "leases were not released: they end by themselves");
        }
        if timeout(CLOSE_WITHIN, self.sql.close()).await.is_err() {
            tracing::warn!("the database did not let its connections go in time");
        }
        // Last, so that everything before can be watched.
        if let Some(admin) = self.admin {
            admin.handle.stop(false).await;
        }
    }
}

/// The port for operators.
struct AdminPort {
    address: SocketAddr,
    handle: ServerHandle,
}

impl AdminPort {
    async fn open(host: &str, port: u16, services: AdminServices, draining: Draining) -> anyhow::Result<Self> {
        let listener =
            listen(host, port).await.with_context(|| format!("ADMIN_PORT: cannot listen on {host} port {port}"))?;
        let address = listener.local_addr()?;
        let server = serve_admin(listener, services, draining).context("ADMIN_PORT: the server cannot start")?;
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { address, handle })
    }
}

/// Starts the program with these settings: connects, migrates, makes the admin of the settings,
/// listens and serves. On return the server accepts connections.
pub async fn start(settings: Settings, clock: Arc<dyn Clock>) -> anyhow::Result<Running> {
    // Before everything that counts something.
    let metrics = telemetry::metrics()?;
    let deadlines = &settings.deadlines;
    prepare(&settings)?;
    let secret = settings.signing_secret()?;
    let sql = connect(&settings, Arc::clone(&clock)).await?;
    ensure_migrated(&settings, &sql).await?;
    let redis = settings.redis.url.as_ref().map(|url| connect_redis(url.expose(), deadlines.redis)).transpose()?;
    let shared = match &redis {
        None => None,
        Some(redis) => Some(Shared::new(redis, &secret, &sql).await?),
    };
    let cache_options = CacheOptions { max_staleness: settings.cache.max_staleness, patience: deadlines.shared_read() };
    let cache = Cache::new(Arc::new(sql.clone()), bodies(shared.as_ref(), deadlines.far_body()), cache_options);
    let events: Arc<dyn Events> = Arc::new(CachedEvents::new(Arc::new(sql.clone()), Arc::clone(&cache)));
    let changes = seat_changes(shared);
    sql.announce_to(Arc::clone(&changes));
    let live = Arc::new(LiveSeats::new(changes, Arc::clone(&events), Arc::new(sql.clone())));
    let gauges = Arc::new(Gauges {
        metrics,
        sql: sql.clone(),
        cache: Arc::clone(&cache),
        redis: redis.clone(),
        passwords: passwords(&settings),
        runtime: Handle::current(),
    });
    let use_cases = UseCases::new(
        &settings,
        &secret,
        &sql,
        events,
        Arc::new(CachedRegistrations::new(Arc::new(sql.clone()), cache)),
        Arc::clone(&gauges.passwords) as Arc<dyn Passwords>,
        Arc::clone(&clock),
    )?;
    ensure_admin(&settings, &use_cases.accounts).await?;

    let listener = listen(&settings.http.host, settings.http.port)
        .await
        .with_context(|| format!("HOST, PORT: cannot listen on {} port {}", settings.http.host, settings.http.port))?;
    let address = listener.local_addr()?;
    let own_listener = listener.try_clone()?;
    let draining = Draining::default();
    let redis = redis.map(|redis| Arc::new(redis) as Arc<dyn Probe>);
    let channels = Channels::new(&settings, address, &clock)?;
    let broker = channels.broker();
    let admin = match settings.http.admin_port {
        None => None,
        Some(port) => {
            let services = AdminServices {
                database: Arc::new(sql.clone()),
                redis: redis.clone(),
                broker: broker.clone(),
                inside: Arc::clone(&gauges) as Arc<dyn Inside>,
                metrics: Arc::clone(&gauges) as Arc<dyn Metrics>,
                probe: deadlines.probe,
            };
            Some(AdminPort::open(&settings.http.host, port, services, draining.clone()).await?)
        }
    };
    let services = Services {
        access: use_cases.access,
        accounts: use_cases.accounts,
        catalogue: use_cases.catalogue,
        bookings: use_cases.bookings,
        history: Arc::new(HistoryReader::new(Arc::new(sql.clone()))),
        webhooks: Arc::new(WebhookRegistry::new(
            Arc::new(sql.clone()),
            Arc::clone(&channels.webhooks),
            Arc::new(adapter_webhook::new_secret),
            Arc::clone(&clock),
        )),
        live: Arc::clone(&live),
        profile: use_cases.profile,
        database: Arc::new(sql.clone()),
        redis,
        broker,
        clock: Arc::clone(&clock),
        metrics: Arc::clone(&gauges) as Arc<dyn Metrics>,
        traces: settings.traces.endpoint.is_some().then(|| Arc::new(TraceContext) as Arc<dyn api::Traces>),
    };
    let options = HttpOptions {
        rate_limit_per_minute: settings.http.rate_limit_per_minute,
        login_attempts_per_minute: settings.http.login_attempts_per_minute,
        trusted_proxies: settings.http.trusted_proxies.clone(),
        allowed_origins: settings.http.cors_allowed_origins.clone(),
        allow_localhost_origins: settings.environment == Environment::Development,
        live_max_connections: settings.http.live_max_connections,
        deadlines: deadlines.http(),
    };
    let server = api::serve(listener, services, options, draining.clone()).context("the server cannot start")?;
    let handle = server.handle();
    let server = tokio::spawn(server);

    let jobs = jobs::start(&settings, &sql, live, channels, gauges.metrics.clone(), clock);

    let contents = sql.contents().await.ok();
    let welcome = Welcome::new(&settings, address, admin.as_ref().map(|admin| admin.address), contents);
    let shutdown_grace = deadlines.shutdown_grace;
    let listener = own_listener;
    Ok(Running { address, shutdown_grace, draining, listener, handle, server, jobs, sql, admin, welcome })
}

/// What people can do, over adapters.
pub(crate) struct UseCases {
    pub(crate) users: Arc<dyn Users>,
    pub(crate) passwords: Arc<dyn Passwords>,
    pub(crate) tokens: Arc<dyn Tokens>,
    pub(crate) access: Arc<Access>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) bookings: Arc<SeatBookings>,
    pub(crate) profile: Arc<Profile>,
}

impl UseCases {
    fn new(
        settings: &Settings,
        secret: &SecretString,
        sql: &Sql,
        events: Arc<dyn Events>,
        registrations: Arc<dyn Registrations>,
        passwords: Arc<dyn Passwords>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let users: Arc<dyn Users> = Arc::new(SharedUsers::new(Arc::new(sql.clone()), settings.deadlines.shared_read()));
        let tokens: Arc<dyn Tokens> = Arc::new(Hs256Tokens::new(
            secret,
            settings.access.jwt_previous_secret.as_ref(),
            settings.access.access_token_ttl_secs,
        )?);
        let accounts = Accounts::new(
            Arc::clone(&users),
            Arc::new(sql.clone()),
            Arc::clone(&passwords),
            Arc::clone(&tokens),
            Arc::clone(&clock),
            settings.access.refresh_token_ttl_secs,
        );
        Ok(Self {
            access: Arc::new(Access::new(Arc::clone(&users), Arc::clone(&tokens), clock)),
            accounts: Arc::new(accounts),
            catalogue: Arc::new(Catalogue::new(events)),
            bookings: Arc::new(SeatBookings::new(Arc::new(sql.clone()), registrations)),
            profile: Arc::new(Profile::new(Arc::clone(&users))),
            users,
            passwords,
            tokens,
        })
    }

    /// The use cases for an operator at the command line: no cache, and tokens that no other
    /// process accepts.
    pub(crate) fn for_operator(settings: &Settings, sql: &Sql, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let (events, registrations) = (Arc::new(sql.clone()), Arc::new(sql.clone()));
        Self::new(settings, &random_secret()?, sql, events, registrations, passwords(settings), clock)
    }
}

/// Hashes passwords on every core.
fn passwords(settings: &Settings) -> Arc<Bcrypt> {
    let cores = available_parallelism().map_or(1, usize::from);
    let bcrypt = Bcrypt::new(settings.access.bcrypt_cost, cores, cores * WAITING_PER_CORE);
    Arc::new(bcrypt.with_patience(settings.deadlines.password_queue))
}

/// Sees to it that the embedded database has a place to be; a server needs none.
pub(crate) fn prepare(settings: &Settings) -> anyhow::Result<()> {
    settings.database.url.sqlite_file().map_or(Ok(()), |file| data_folder::prepare(&file))
}

/// Connects to the database.
pub(crate) async fn connect(settings: &Settings, clock: Arc<dyn Clock>) -> anyhow::Result<Sql> {
    let url = settings.database.url.expose().to_owned();
    let options = SqlOptions { url, pool_size: settings.database.pool_size, deadlines: settings.deadlines.sql() };
    Sql::connect(&options, clock).await.map_err(|error| match error {
        StoreError::Unavailable(why) => anyhow!("DATABASE_URL: cannot use {}: {why}", settings.database.url),
        StoreError::Fault(why) | StoreError::OutcomeUnknown(why) => anyhow!("DATABASE_URL: {why}"),
    })
}

/// The same, and follows the database to another server while the command runs.
pub(crate) async fn connect_for_a_command(settings: &Settings, clock: Arc<dyn Clock>) -> anyhow::Result<Sql> {
    let sql = connect(settings, clock).await?;
    let watched = sql.clone();
    tokio::spawn(async move { watched.watch().await });
    Ok(sql)
}

/// Brings the database up to date, or says that it is not.
pub(crate) async fn ensure_migrated(settings: &Settings, sql: &Sql) -> anyhow::Result<()> {
    if settings.database.migrate { migrate(sql).await } else { refuse_behind(sql).await }
}

/// Makes every change of the schema that is missing, and says how many there were.
pub(crate) async fn migrate(sql: &Sql) -> anyhow::Result<()> {
    let made = sql.migrate_up().await.context("the database could not be migrated")?;
    if made > 0 {
        tracing::info!("schema: {made} {} made", if made == 1 { "change" } else { "changes" });
    }
    Ok(())
}

/// Says which migrations are pending, if any.
pub(crate) async fn refuse_behind(sql: &Sql) -> anyhow::Result<()> {
    let status = sql.migration_status().await.context("the state of the database could not be read")?;
    let pending: Vec<_> = status.into_iter().filter(|(_, applied)| !applied).map(|(name, _)| name).collect();
    if !pending.is_empty() {
        bail!("the database is behind: run `boxoffice migrate` (pending: {})", pending.join(", "));
    }
    Ok(())
}

/// Makes the admin of the settings, unless there is one of that address.
async fn ensure_admin(settings: &Settings, accounts: &Accounts) -> anyhow::Result<()> {
    let (Some(email), Some(password)) = (settings.access.admin_email.clone(), settings.access.admin_password.clone())
    else {
        return Ok(());
    };
    let shown = email.clone();
    let name = PersonName::parse(ADMIN_NAME)?;
    match accounts.ensure_admin(SignUp { name, email, password }).await {
        Ok(User { .. }) => Ok(()),
        Err(EnsureAdminError::OrdinaryAccount) => {
            bail!("ADMIN_EMAIL: {shown} belongs to an ordinary account: choose another address")
        }
        Err(error) => Err(error).context("the admin of ADMIN_EMAIL could not be made"),
    }
}

fn connect_redis(url: &str, budget: Duration) -> anyhow::Result<Redis> {
    Redis::with_budget(url, budget).context("REDIS_URL: cannot be used")
}

/// What instances share through Redis, proved by a seal. It keeps its purpose apart from that of
/// tokens, so both may use one secret, which all instances have.
struct Shared {
    redis: Redis,
    seal: Seal,
    database_id: String,
}

impl Shared {
    async fn new(redis: &Redis, secret: &SecretString, sql: &Sql) -> anyhow::Result<Self> {
        let database_id = sql.database_id().await.context("the database has no identity")?;
        let seal = Seal::new(secret.expose_secret().as_bytes(), &database_id);
        Ok(Self { redis: redis.clone(), seal, database_id })
    }
}

/// Where cached bodies lie: in the process, and behind it in Redis if there is one.
fn bodies(shared: Option<&Shared>, patience: Duration) -> Arc<dyn Bodies> {
    let near: Arc<dyn Bodies> = Arc::new(MemoryBodies::new(BODIES_BYTES));
    match shared {
        None => near,
        Some(Shared { redis, seal, .. }) => {
            Arc::new(Tiered::new(near, Arc::new(RedisBodies::new(redis.clone(), seal.clone())), patience))
        }
    }
}

/// How changes of seats are told: within the process, or to every instance if there is a Redis.
fn seat_changes(shared: Option<Shared>) -> Arc<dyn SeatChanges> {
    match shared {
        None => Arc::new(MemorySeatChanges::new()),
        Some(Shared { redis, seal, database_id }) => Arc::new(RedisSeatChanges::new(&redis, seal, &database_id)),
    }
}

async fn listen(host: &str, port: u16) -> anyhow::Result<TcpListener> {
    let address = lookup_host((host, port)).await?.next().context("the name has no address")?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    bound_what_waits(&SockRef::from(&socket))?;
    socket.bind(address)?;
    Ok(socket.listen(BACKLOG)?.into_std()?)
}

/// Every connection that is accepted has these from its listener.
#[cfg(target_os = "linux")]
fn bound_what_waits(listener: &SockRef<'_>) -> std::io::Result<()> {
    listener.set_tcp_notsent_lowat(UNSENT)?;
    listener.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

/// Elsewhere the system's own bounds have to do.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
fn bound_what_waits(_: &SockRef<'_>) -> std::io::Result<()> {
    Ok(())
}

/// Has the system refuse new connections, or drop what asks for them, while those that were made are accepted. A client
/// repeats what was dropped after a second and is refused then, when the listener is closed; a proxy asks another instance.
/// Without this, the system goes on making connections that are never accepted, and resets them when the listener closes:
/// a write that was sent on one has an unknown outcome.
#[cfg(target_os = "linux")]
fn ignore_new_connections(listener: &SockRef<'_>) -> std::io::Result<()> {
    // Some kernels let only root attach a filter. All of them since 5.7 let any user bind a socket to a device: then no
    // connection from outside finds the listener.
    drop_new_connections(listener).or_else(|_| listener.bind_device(Some(b"lo")))
}

#[cfg(target_os = "linux")]
fn drop_new_connections(listener: &SockRef<'_>) -> std::io::Result<()> {
    // In classic BPF, over the TCP header: a segment with ACK or RST set belongs to a connection that is being made.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_ANY_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS: u32 = 13;
    const ACK_OR_RST: u32 = 0x14;
    listener.attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_ANY_SET, 1, 0, ACK_OR_RST),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Elsewhere, connections of the last moment are cut off.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
fn ignore_new_connections(_: &SockRef<'_>) -> std::io::Result<()> {
    Ok(())
}
