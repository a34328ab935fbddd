//! A device, over whichever connection there is at the moment.
//!
//! Who notices that the back-end is gone lets the others know: a thread that waits for a queue, which
//! watches the socket, too; or whoever asks the device for something. Each attempt to reach another
//! one is made by a thread that waits anyway, and is no longer than a back-end takes to answer.

use core::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use ringway_spec::Features;
use ringway_spec::net::PAIRS_MIN;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::card::{self, Card, Said};
use super::error::{Error, Result, Violation};
use super::options::{Event, Notify, Options, Reconnect};
use super::platform::Platform;
use super::session::Session;
use super::told::Told;
use super::wire::{Heard, Wire};
use crate::eventfd::EventFd;
use crate::protocol::{PROTOCOL_FEATURES, ProtocolFeatures};
use crate::sync::lock;

/// Makes a connection.
pub(crate) type Connect = Box<dyn FnMut() -> io::Result<UnixStream> + Send>;

/// A device, and the connection to it.
pub(crate) struct Link {
    state: Mutex<State>,
    /// When the next attempt to connect is due, in nanoseconds of the platform's time.
    due: AtomicU64,
}

/// There is no attempt to be made.
const NEVER: u64 = u64::MAX;

pub(crate) struct State {
    platform: Platform,
    options: Options,
    connect: Connect,
    session: Option<Session<Wire>>,
    /// Since when there is this connection.
    connected: Instant,
    /// How long to wait before the next attempt, should it come to that.
    delay: Duration,
    outage: Option<Outage>,
    /// Why there will be no further connection.
    over: Option<Error>,
    last_error: Option<Error>,
    pub(crate) told: Told,
    pub(crate) terms: Terms,
    /// What is this end's of a network card.
    pub(crate) card: Option<Card>,
    /// Signalled by the back-end when a ring is broken.
    broken: Arc<EventFd>,
    /// Whether one is, or nothing can be done for one.
    needs_reset: bool,
    /// See [`is_uncertain`](Self::is_uncertain).
    uncertain: bool,
    /// How often the configuration may have changed.
    pub(crate) generation: u32,
    /// Raised when it has.
    pub(crate) config_call: Option<Arc<EventFd>>,
}

/// What a back-end said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// All that it offers as features.
    pub(crate) offered: u64,
    pub(crate) agreed: ProtocolFeatures,
    /// How many queues it serves.
    pub(crate) queues: Option<u16>,
}

/// A time without a back-end.
#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    failed: u32,
    next: Instant,
}

impl Link {
    /// Connects, for the first time.
    pub(crate) fn new(
        platform: &Platform,
        connect: Connect,
        options: Options,
    ) -> Result<Arc<Self>> {
        let mut state = State {
            platform: platform.clone(),
            options,
            connect,
            session: None,
            connected: Instant::now(),
            delay: Duration::ZERO,
            outage: None,
            over: None,
            last_error: None,
            told: Told::default(),
            terms: Terms {
                offered: 0,
                agreed: ProtocolFeatures::empty(),
                queues: None,
            },
            card: None,
            broken: Arc::new(EventFd::shared().map_err(Error::os)?),
            needs_reset: false,
            uncertain: false,
            generation: 0,
            config_call: None,
        };
        let (session, said) = state.open()?;
        let wanted = state.options.card.as_ref().zip(said.as_ref());
        state.card = wanted.map(|(wanted, said)| Card::new(wanted, said));
        state.terms = state.terms_of(&session, said.as_ref());
        state.session = Some(session);
        platform.links().watch(&state.broken).map_err(Error::os)?;
        let link = Arc::new(Self {
            state: Mutex::new(state),
            due: AtomicU64::new(NEVER),
        });
        platform.links().add(&link);
        Ok(link)
    }

    /// The device, for as long as what is returned is kept.
    pub(crate) fn state(&self) -> LinkGuard<'_> {
        LinkGuard {
            link: self,
            state: lock(&self.state),
        }
    }

    /// Looks after the connection: hears what the back-end says of its own accord, and whether it is
    /// gone; and tries once to reach another one, if that is due. Does nothing if somebody else has
    /// the device just now.
    pub(crate) fn look_after(&self) {
        let state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => {
                // What woke us is theirs to see. They wait for an answer, most likely.
                return std::thread::sleep(Duration::from_millis(1));
            }
        };
        LinkGuard { link: self, state }.look();
    }

    /// How long until an attempt to connect is due, at `now` of the platform's time. `None` if there
    /// is none to be made.
    pub(crate) fn due_in(&self, now: impl FnOnce() -> Duration) -> Option<Duration> {
        match self.due.load(Ordering::Relaxed) {
            NEVER => None,
            due => Some(Duration::from_nanos(due).saturating_sub(now())),
        }
    }

    /// Kicks a queue by message.
    pub(crate) fn kick(&self, index: u8) {
        let mut state = self.state();
        // A back-end that is away looks at every ring when it is back.
        if let Some(session) = &mut state.session
            && let Err(error) = session.kick(index)
        {
            state.ends(error);
        }
    }

    /// Does what a driver has commanded.
    pub(crate) fn command(&self) {
        self.state().obey();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let state = lock(&self.state);
        // The back-end has the descriptor, too, so that it is not forgotten by being closed.
        state.platform.links().forget(&state.broken);
    }
}

/// The device, locked.
pub(crate) struct LinkGuard<'l> {
    link: &'l Link,
    state: MutexGuard<'l, State>,
}

impl std::ops::Deref for LinkGuard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl std::ops::DerefMut for LinkGuard<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for LinkGuard<'_> {
    fn drop(&mut self) {
        let due = self.state.due();
        self.link.due.store(due, Ordering::Relaxed);
    }
}

impl State {
    /// Has `ask` ask something of the back-end, whichever is there. Waits for one, as long as the
    /// user allows; asks again if it goes away meanwhile.
    pub(crate) fn ask<X>(
        &mut self,
        mut ask: impl FnMut(&mut Session<Wire>, &mut Told) -> Result<X>,
    ) -> Result<X> {
        loop {
            let session = match self.session.take() {
                Some(session) => session,
                None => self.wait_for_another()?,
            };
            let session = self.session.insert(session);
            let asked = ask(session, &mut self.told);
            self.hear();
            match asked {
                Err(error) if self.ends(error) => {}
                asked => return asked.inspect_err(|error| self.last_error = Some(*error)),
            }
        }
    }

    /// As [`ask`](Self::ask), of the back-end that is there just now. `None` if there is none.
    pub(crate) fn ask_now<X>(
        &mut self,
        ask: impl FnOnce(&mut Session<Wire>, &mut Told) -> Result<X>,
    ) -> Option<Result<X>> {
        let asked = ask(self.session.as_mut()?, &mut self.told);
        self.hear();
        if let Err(error) = &asked {
            self.ends(*error);
        }
        Some(asked)
    }

    /// Whether the device is there at the moment.
    pub(crate) fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Why there is no device any more.
    pub(crate) fn over(&self) -> Option<Error> {
        self.over
    }

    /// What went wrong last.
    pub(crate) fn last_error(&self) -> Option<Error> {
        self.last_error
    }

    /// Whether a ring is broken.
    pub(crate) fn needs_reset(&self) -> bool {
        self.needs_reset
    }

    /// Whether there is, or was, a back-end that may go on with memory that it was told of, since it
    /// did not let go of it: one that did not answer, or that is not believed any more. One that
    /// closed the connection has let go.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.uncertain
    }

    /// How many queues the device has: as many as the back-end says, or the user does, and one for
    /// commands if that is kept here.
    pub(crate) fn queues(&self) -> u16 {
        let theirs = self.terms.queues.unwrap_or(self.options.queues);
        theirs + u16::from(self.card.is_some())
    }

    /// The features that there are to be had: of the back-end's those that are not kept here, and those
    /// that are.
    pub(crate) fn offered(&self) -> Features {
        let theirs = Features(u128::from(self.terms.offered & !PROTOCOL_FEATURES));
        self.card
            .as_ref()
            .map_or(theirs, |card| card.offered(theirs))
    }

    /// The half of a card that is here, if queue `index` is its queue of commands.
    pub(crate) fn commands_at(&mut self, index: u16) -> Option<&mut Card> {
        let features = self.told.features;
        let card = self.card.as_mut();
        card.filter(|card| card.commands_at(index, features))
    }

    /// The driver's features are settled.
    pub(crate) fn settle(&mut self) {
        if let Some(card) = &mut self.card {
            self.told.mtu = card.negotiated(self.told.features);
            self.told.pairs = Some(PAIRS_MIN);
        }
    }

    /// Does what a driver has commanded of the half of a card that is here.
    pub(crate) fn obey(&mut self) {
        let Some(card) = self.card.as_mut().filter(|_| self.told.is_live()) else {
            return;
        };
        let pairs = Some(card.obey());
        if std::mem::replace(&mut self.told.pairs, pairs) == pairs {
            return;
        }
        // A back-end that is away is told when it is back.
        let told = self.ask_now(|session, told| told.use_pairs(session));
        if let Some(Err(error)) = told
            && !error.is_outage()
        {
            // The driver was told that it is done.
            self.last_error = Some(error);
            self.needs_reset = true;
            self.config_changed();
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn platform(&self) -> &Platform {
        &self.platform
    }

    pub(crate) fn broken(&self) -> Arc<EventFd> {
        Arc::clone(&self.broken)
    }

    /// Forgets all that the back-end was told of: it has been reset, or is gone.
    pub(crate) fn begin_again(&mut self) {
        self.told = Told::default();
        self.needs_reset = false;
        if let Some(card) = &mut self.card {
            card.reset();
        }
    }

    /// Looks after the connection.
    pub(crate) fn look(&mut self) {
        if let Some(session) = &mut self.session {
            let listened = session.channel().listen();
            let gone = is_gone(session);
            self.hear();
            if let Err(error) = listened {
                self.ends(error);
            } else if gone {
                self.ends(Error::Closed);
            }
        }
        if matches!(self.broken.take(), Ok(true)) {
            self.needs_reset = true;
            self.config_changed();
        }
        if self
            .outage
            .is_some_and(|outage| Instant::now() >= outage.next)
        {
            // Why it failed is told to the observer.
            let _ = self.attempt();
        }
    }

    /// Ends the connection if `error` is of a kind that ends it. Says whether another one may do
    /// better.
    fn ends(&mut self, error: Error) -> bool {
        let may_go_on = matches!(error, Error::Backend(_) | Error::Silent { .. });
        self.uncertain |= may_go_on && self.session.is_some() && self.told.is_live();
        match error {
            error if error.is_outage() => {
                self.lose(error);
                self.over.is_none()
            }
            Error::Backend(_) => {
                self.give_up(error);
                false
            }
            _ => false,
        }
    }

    fn lose(&mut self, why: Error) {
        if self.session.take().is_none() {
            return;
        }
        self.last_error = Some(why);
        if self.options.reconnect.within == Some(Duration::ZERO) {
            return self.give_up(why);
        }
        self.tell(Event::Lost(why));
        let now = Instant::now();
        // One that ends again and again, as soon as it is there, is not to keep us busy.
        if now.duration_since(self.connected) > self.options.reconnect.longest_delay {
            self.delay = Duration::ZERO;
        }
        let next = now + self.next_delay();
        self.outage = Some(Outage {
            since: now,
            failed: 0,
            next,
        });
        if let Some(card) = &self.card {
            card.set_up(false);
            self.config_changed();
        }
    }

    /// How long to wait now. Longer the next time.
    fn next_delay(&mut self) -> Duration {
        let Reconnect {
            first_delay,
            longest_delay,
            ..
        } = self.options.reconnect;
        let now = self.delay;
        self.delay = (now * 2).max(first_delay).min(longest_delay);
        now
    }

    fn give_up(&mut self, why: Error) {
        self.session = None;
        self.outage = None;
        self.over = Some(why);
        self.last_error = Some(why);
        self.needs_reset = true;
        self.tell(Event::GaveUp(why));
        // Whoever waits is to find out.
        self.config_changed();
    }

    fn tell(&self, event: Event) {
        if let Some(observer) = &self.options.observer {
            observer(event);
        }
    }

    /// Waits until a back-end is there.
    fn wait_for_another(&mut self) -> Result<Session<Wire>> {
        loop {
            if let Some(over) = self.over {
                return Err(over);
            }
            let next = self.outage.map(|outage| outage.next);
            std::thread::sleep(next.map_or(Duration::ZERO, |next| {
                next.saturating_duration_since(Instant::now())
            }));
            self.attempt()?;
            if let Some(session) = self.session.take() {
                return Ok(session);
            }
        }
    }

    /// Tries once to reach a back-end.
    ///
    /// # Errors
    ///
    /// What has us make no further attempt.
    fn attempt(&mut self) -> Result<()> {
        let why = match self.open() {
            Ok((session, _)) => {
                self.session = Some(session);
                self.connected = Instant::now();
                self.resumed();
                return Ok(());
            }
            Err(why) => why,
        };
        let now = Instant::now();
        let Some(outage) = self.outage else {
            return Err(why);
        };
        let within = self.options.reconnect.within;
        let late = within.is_some_and(|within| now.duration_since(outage.since) >= within);
        let hopeless = matches!(why, Error::Backend(_)) && !why.is_outage();
        if late || hopeless {
            self.give_up(why);
            return Err(why);
        }
        let (attempts, next) = (outage.failed.saturating_add(1), self.next_delay());
        self.outage = Some(Outage {
            failed: attempts,
            next: now + next,
            ..outage
        });
        self.last_error = Some(why);
        self.tell(Event::Failed {
            attempts,
            why,
            next,
        });
        Ok(())
    }

    /// Connects, agrees on terms, and tells the back-end what the one before was told.
    fn open(&mut self) -> Result<(Session<Wire>, Option<Said>)> {
        let stream = (self.connect)().map_err(|error| Error::unreachable(&error))?;
        let Options {
            protocol,
            answer_limit,
            ..
        } = self.options;
        let required = self.options.required();
        let wire = Wire::new(stream, answer_limit);
        let mut session = Session::open(wire, protocol, required)?;
        let mut said = None;
        if self.options.card.is_some() {
            said = Some(Said::of(&mut session)?);
            session.withhold(card::KEPT);
        }
        if session.agreed().contains(ProtocolFeatures::BACKEND_REQ) {
            let (ours, theirs) = UnixStream::pair().map_err(|error| Error::unreachable(&error))?;
            session.set_requests(theirs.as_fd())?;
            session.channel().hear(ours);
        }
        if self.outage.is_some() {
            self.still_holds(&self.terms_of(&session, said.as_ref()))?;
            self.told
                .replay(&mut session, self.platform.share(), &self.broken)?;
            let card = self.card.as_ref().filter(|_| self.told.is_live());
            // Who is behind this one may have known another way to it.
            if let Some(mac) = card.and_then(Card::announce) {
                session.announce(mac)?;
            }
        }
        let requests = session.channel().requests();
        let links = self.platform.links();
        requests
            .map_or(Ok(()), |requests| links.watch(requests))
            .and_then(|()| links.watch_hang_up(&session))
            .map_err(Error::os)?;
        Ok((session, said))
    }

    fn terms_of(&self, session: &Session<Wire>, said: Option<&Said>) -> Terms {
        let of_card = self.card.as_ref().zip(said);
        Terms {
            offered: session.offered(),
            agreed: session.agreed(),
            queues: match of_card {
                Some((card, said)) => Some(card.pairs().min(said.pairs) * 2),
                None => session.queues(),
            },
        }
    }

    /// Finds that another back-end has all that is in use.
    fn still_holds(&self, other: &Terms) -> Result<()> {
        let gone = self.told.for_back_end(self.terms.offered) & !other.offered;
        if gone != 0 {
            return Err(Violation::FeaturesGone(Features(u128::from(gone))).into());
        }
        let gone = self.terms.agreed - other.agreed;
        if !gone.is_empty() {
            return Err(Violation::ProtocolGone(gone).into());
        }
        match (self.told.rings.keys().last(), other.queues) {
            (Some(last), Some(has)) if has <= u16::from(*last) => {
                Err(Violation::Queues(u64::from(has)).into())
            }
            _ => Ok(()),
        }
    }

    /// Has both ends look at everything: each may have missed what the other said last.
    fn resumed(&mut self) {
        let Some(Outage { since, failed, .. }) = self.outage.take() else {
            return;
        };
        let after = since.elapsed();
        for (index, ring) in &self.told.rings {
            match (ring.kicks, &mut self.session) {
                (Notify::Signal, _) => ring.kick.signal(),
                // One that fails is noticed as every other loss is.
                (Notify::Message, Some(session)) => drop(session.kick(*index)),
                _ => {}
            }
            ring.call.signal();
        }
        if let Some(card) = &self.card {
            card.set_up(true);
        }
        self.tell(Event::Resumed { failed, after });
        // It may have another configuration than the one before.
        self.config_changed();
    }

    /// Does what the back-end has said of its own accord.
    fn hear(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        let heard = session.channel().take_heard();
        if heard == Heard::default() {
            return;
        }
        if heard.miss && self.told.is_live() {
            let translated = session.translate(&self.platform.share().region());
            if let Err(error) = translated {
                self.ends(error);
            }
        }
        for index in heard.calls() {
            if let Some(ring) = self.told.rings.get(&index) {
                ring.call.signal();
            }
        }
        self.needs_reset |= heard.broken;
        if heard.config || heard.broken {
            self.config_changed();
        }
    }

    fn config_changed(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if let Some(call) = &self.config_call {
            call.signal();
        }
    }

    /// When an attempt to connect is due, in nanoseconds of the platform's time.
    fn due(&self) -> u64 {
        self.outage.map_or(NEVER, |outage| {
            let due = self.platform.since_start(outage.next).as_nanos();
            u64::try_from(due).unwrap_or(NEVER)
        })
    }
}

/// Whether the peer has hung up.
fn is_gone(session: &Session<Wire>) -> bool {
    let mut polled = [PollFd::new(session, PollFlags::RDHUP)];
    let polled_any = poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready != 0);
    polled_any && !polled[0].revents().is_empty()
}
