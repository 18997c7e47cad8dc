//! The search for devices that claims ask for (`structured.Allocator`): one device after the other, in the order of pools,
//! slices and devices, and back where it leads nowhere. The first solution counts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use client::tolerations::tolerates_device;
use k8s_openapi::api::resource::v1::{AllocationResult, Device, DeviceClass, ResourceClaim};

use super::constraints::Constraint;
use super::counters::Counters;
use super::inventory::{Inventory, Known};
use super::ledger::Ledger;
use super::pools::{Pool, gather};
use super::requests::{Choice, Matcher, Place, Request, key_of};
use super::results::results;
use super::selectors::Selectors;
use super::{Amounts, DeviceId, add, capacity, subtract};
use crate::node::NodeInfo;

/// The most devices of one claim (`AllocationResultsMaxSize`).
pub(crate) const RESULTS_MAX: usize = 32;
/// Each device is one more level of the search: for several claims it has a stack of its own.
const CLAIMS_ON_STACK_MAX: usize = 1;
/// That stack, in bytes; only what is used is ever there.
const STACK_BYTES: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The search took too long.
    TimedOut,
    /// Nothing can be had on this node; another may do.
    OnNode(String),
    /// Something is wrong with a claim or a class.
    Fatal(String),
}

/// What a search goes by.
#[derive(Clone, Copy)]
pub(crate) struct Allocator<'a> {
    /// What drivers offer.
    pub inventory: &'a Inventory,
    /// What claims have.
    pub ledger: &'a Ledger,
    /// Expressions.
    pub selectors: &'a Selectors,
    /// Classes by name.
    pub classes: &'a (dyn Fn(&str) -> Option<Arc<DeviceClass>> + Sync),
    /// Whether time is up.
    pub is_over: &'a (dyn Fn() -> bool + Sync),
    /// Names for parts of devices that several may have.
    pub share_id: &'a (dyn Fn() -> String + Sync),
}

impl Allocator<'_> {
    /// Finds devices for all of `claims` on a node; nothing if there are not enough.
    ///
    /// # Errors
    /// Why it is not known.
    pub(crate) fn allocate(
        &self,
        node: &NodeInfo,
        claims: &[Arc<ResourceClaim>],
    ) -> Result<Option<Vec<AllocationResult>>, Failure> {
        if claims.len() <= CLAIMS_ON_STACK_MAX {
            return self.allocate_here(node, claims);
        }
        let failed = |why: &str| Err(Failure::Fatal(format!("the search for devices {why}")));
        std::thread::scope(|scope| {
            let search = || self.allocate_here(node, claims);
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, search);
            thread.map_or_else(|_| failed("has no thread"), |t| t.join().unwrap_or_else(|_| failed("panicked")))
        })
    }

    fn allocate_here(
        &self,
        node: &NodeInfo,
        claims: &[Arc<ResourceClaim>],
    ) -> Result<Option<Vec<AllocationResult>>, Failure> {
        let pools = gather(self.inventory, node);
        let matcher = Matcher::new(&pools, node, self.selectors, self.classes, self.is_over);
        let (mut requests, mut constraints) = (Vec::new(), Vec::new());
        for (number, claim) in claims.iter().enumerate() {
            let read = matcher.requests(number, claim)?;
            let least = |request: &Request<'_>| request.options.iter().map(|option| option.count).min().unwrap_or(0);
            let count = read.iter().map(least).fold(0, usize::saturating_add);
            if count > RESULTS_MAX {
                let limit = format!("number of requested devices {count} exceeds the claim limit of {RESULTS_MAX}");
                return Err(Failure::Fatal(format!("claim {}: {limit}", key_of(claim))));
            }
            requests.push(read);
            constraints.push(constraints_of(claim)?);
        }
        let mut search = Search {
            allocator: self,
            matcher: &matcher,
            claims,
            requests: &requests,
            constraints,
            counters: pools.iter().map(|_| None).collect(),
            allocating: HashMap::new(),
            sharing: HashMap::new(),
            chosen: requests.iter().map(|all| vec![0; all.len()]).collect(),
            results: claims.iter().map(|_| Vec::new()).collect(),
        };
        match search.one(Cursor::default(), Place::default()) {
            Ok(true) => {}
            Ok(false) | Err(Stop::TooMany) => {
                let is_wrong = pools.iter().any(|pool| pool.problem.is_some());
                let wrong = || Failure::OnNode("invalid resource pools were encountered".into());
                return if is_wrong { Err(wrong()) } else { Ok(None) };
            }
            Err(Stop::Failed(failure)) => return Err(failure),
        }
        let found = Found { chosen: search.chosen, results: search.results };
        Ok(Some(results(&found, claims, &requests, &matcher)))
    }
}

fn constraints_of(claim: &ResourceClaim) -> Result<Vec<Constraint<'_>>, Failure> {
    let constraints = claim.spec.devices.iter().flat_map(|devices| devices.constraints.iter().flatten());
    let read = constraints.enumerate().map(|(at, constraint)| {
        let empty =
            || format!("claim {}, constraint #{at}: empty constraint (unsupported constraint type?)", key_of(claim));
        Constraint::new(constraint).ok_or_else(|| Failure::Fatal(empty()))
    });
    read.collect()
}

/// What a search found.
pub(super) struct Found {
    /// Which of several things each request of each claim got.
    pub(super) chosen: Vec<Vec<usize>>,
    /// The devices of each claim.
    pub(super) results: Vec<Vec<Chosen>>,
}

/// A device that a request got.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) request: usize,
    pub(super) option: usize,
    pub(super) place: Place,
    /// How much of it, and under which name, if others may have the rest.
    pub(super) part: Option<(String, Amounts)>,
    took_counters: bool,
}

/// Where the search is: which device of which request is looked for.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    claim: usize,
    request: usize,
    /// The one of several that is tried, if one is.
    option: Option<usize>,
    device: usize,
}

/// Why the search goes no further.
enum Stop {
    /// The claim would have too many devices: with those chosen before there is no solution.
    TooMany,
    /// Something is wrong.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A search under way.
struct Search<'a> {
    allocator: &'a Allocator<'a>,
    matcher: &'a Matcher<'a>,
    claims: &'a [Arc<ResourceClaim>],
    requests: &'a [Vec<Request<'a>>],
    constraints: Vec<Vec<Constraint<'a>>>,
    /// What is left of the counters of each pool, once somebody asked.
    counters: Vec<Option<Counters>>,
    /// The devices chosen so far, and for which claims.
    allocating: HashMap<DeviceId, HashSet<usize>>,
    /// How often, and how much of, a device was chosen of which several may have a part.
    sharing: HashMap<DeviceId, (usize, Amounts)>,
    chosen: Vec<Vec<usize>>,
    results: Vec<Vec<Chosen>>,
}

impl<'a> Search<'a> {
    /// Looks for one device, from `start` on, and for all that come after it (`allocateOne`).
    fn one(&mut self, at: Cursor, start: Place) -> Result<bool, Stop> {
        if (self.allocator.is_over)() {
            return Err(Failure::TimedOut.into());
        }
        let Some(requests) = self.requests.get(at.claim) else { return Ok(true) };
        let Some(request) = requests.get(at.request) else {
            let next = Cursor { claim: at.claim + 1, ..Cursor::default() };
            // Other choices for the claims before may need fewer devices here.
            return self.one(next, Place::default()).or_else(|stop| match stop {
                Stop::TooMany => Ok(false),
                failed @ Stop::Failed(_) => Err(failed),
            });
        };
        let option = match at.option {
            None if request.is_choice => return self.first_of(at, request.options.len()),
            option => option.unwrap_or(0),
        };
        let choice = &request.options[option];
        if choice.all.as_ref().is_some_and(Vec::is_empty) {
            return Ok(false);
        }
        if at.device >= choice.count {
            return self
                .one(Cursor { claim: at.claim, request: at.request + 1, ..Cursor::default() }, Place::default());
        }
        let after = self.results[at.claim].len().saturating_add(choice.count - at.device);
        if after > RESULTS_MAX {
            return Err(Stop::TooMany);
        }
        match &choice.all {
            Some(all) => self.exactly(at, option, choice, all[at.device]),
            None => self.any(at, option, choice, start),
        }
    }

    /// Tries the things of which the first will do.
    fn first_of(&mut self, at: Cursor, count: usize) -> Result<bool, Stop> {
        let mut always_too_many = true;
        for option in 0..count {
            match self.one(Cursor { option: Some(option), ..at }, Place::default()) {
                Ok(true) => {
                    self.chosen[at.claim][at.request] = option;
                    return Ok(true);
                }
                Ok(false) => always_too_many = false,
                Err(Stop::TooMany) => {}
                Err(failed) => return Err(failed),
            }
        }
        if always_too_many { Err(Stop::TooMany) } else { Ok(false) }
    }

    /// Takes the one device that is next of all.
    fn exactly(&mut self, at: Cursor, option: usize, choice: &'a Choice<'a>, place: Place) -> Result<bool, Stop> {
        if !self.take(at, option, choice, place, true)? {
            return Ok(false);
        }
        let done = self.one(Cursor { device: at.device + 1, ..at }, Place::default());
        if !matches!(done, Ok(true)) {
            self.give_back(at, choice, place);
        }
        done
    }

    /// Tries one device after the other. Within a request their order does not matter, so later ones only are combined
    /// with each.
    fn any(&mut self, at: Cursor, option: usize, choice: &'a Choice<'a>, start: Place) -> Result<bool, Stop> {
        let pools = self.matcher.pools;
        for (pool_at, pool) in pools.iter().enumerate().skip(start.pool).filter(|(_, pool)| pool.is_usable()) {
            let first = if pool_at == start.pool { start.slice } else { 0 };
            for (slice_at, slice) in pool.slices.iter().enumerate().skip(first) {
                let is_start = (pool_at, slice_at) == (start.pool, start.slice);
                for device in (if is_start { start.device } else { 0 })..slice.devices.len() {
                    let place = Place { pool: pool_at, slice: slice_at, device };
                    if !self.is_free(at, choice, &slice.devices[device])
                        || !self.matcher.is_selectable(
                            &self.claims[at.claim],
                            (at.claim, at.request, option),
                            choice,
                            place,
                        )?
                        || !self.take(at, option, choice, place, false)?
                    {
                        continue;
                    }
                    let next = Place { device: device + 1, ..place };
                    let done = self.one(Cursor { device: at.device + 1, ..at }, next);
                    if matches!(done, Ok(true)) {
                        return done;
                    }
                    self.give_back(at, choice, place);
                    done?;
                }
            }
        }
        Ok(false)
    }

    /// Whether a device can be had, as far as whole devices go.
    fn is_free(&self, at: Cursor, choice: &Choice<'_>, known: &Known) -> bool {
        let claims = self.allocating.get(&known.id);
        if choice.admin {
            return !claims.is_some_and(|claims| claims.contains(&at.claim));
        }
        !self.allocator.ledger.is_dedicated(&known.id) && claims.is_none_or(HashSet::is_empty)
    }

    /// Takes a device if nothing speaks against it (`allocateDevice`). A claim that wants all devices cannot do without one
    /// (`must`): that its constraints keep it from one is an error.
    fn take(
        &mut self,
        at: Cursor,
        option: usize,
        choice: &'a Choice<'a>,
        place: Place,
        must: bool,
    ) -> Result<bool, Failure> {
        let (_, known, device) = self.matcher.at(place);
        let is_shared = device.allow_multiple_allocations == Some(true);
        if !self.is_free(at, choice, known) || has_taint(device, choice) || !self.has_enough(choice, known) {
            return Ok(false);
        }
        let in_parts = self.allocator.ledger.consumed(&known.id).is_some() || self.sharing.contains_key(&known.id);
        let counts = !(known.consumes.is_empty() || is_shared && in_parts);
        if counts && !self.counters_of(place.pool).take(known) {
            return Ok(false);
        }
        let constraints = &mut self.constraints[at.claim];
        if let Some(broken) = (0..constraints.len()).find(|n| !constraints[*n].add(&choice.name, known, device)) {
            constraints[..broken].iter_mut().for_each(|constraint| constraint.remove(&choice.name));
            if counts {
                self.counters_of(place.pool).give_back(known);
            }
            if must {
                let of = format!("claim {}, request {}", key_of(&self.claims[at.claim]), own_name(&choice.name));
                let why = format!("cannot add device {} because a claim constraint would not be satisfied", known.id);
                return Err(Failure::Fatal(format!("{of}: {why}")));
            }
            return Ok(false);
        }
        let part = is_shared.then(|| {
            let amounts = capacity::consumed(&choice.capacity, &known.capacity).unwrap_or_default();
            let (count, sum) = self.sharing.entry(known.id.clone()).or_default();
            *count += 1;
            add(sum, &amounts);
            ((self.allocator.share_id)(), amounts)
        });
        if part.is_none() {
            self.allocating.entry(known.id.clone()).or_default().insert(at.claim);
        }
        self.results[at.claim].push(Chosen { request: at.request, option, place, part, took_counters: counts });
        Ok(true)
    }

    /// Takes back what was taken last.
    fn give_back(&mut self, at: Cursor, choice: &Choice<'_>, place: Place) {
        let (_, known, _) = self.matcher.at(place);
        let Some(last) = self.results[at.claim].pop() else { return };
        self.constraints[at.claim].iter_mut().for_each(|constraint| constraint.remove(&choice.name));
        if last.took_counters {
            self.counters_of(place.pool).give_back(known);
        }
        match last.part {
            None => {
                if let Some(claims) = self.allocating.get_mut(&known.id) {
                    claims.remove(&at.claim);
                }
            }
            Some((_, amounts)) => {
                if let Some((count, sum)) = self.sharing.get_mut(&known.id) {
                    *count -= 1;
                    subtract(sum, &amounts);
                    if *count == 0 {
                        self.sharing.remove(&known.id);
                    }
                }
            }
        }
    }

    fn has_enough(&self, choice: &Choice<'_>, known: &Known) -> bool {
        let more = self.sharing.get(&known.id).map(|(_, amounts)| amounts);
        capacity::fits(&choice.capacity, &known.capacity, self.allocator.ledger.consumed(&known.id), more)
    }

    fn counters_of(&mut self, pool: usize) -> &mut Counters {
        let of: &Pool = &self.matcher.pools[pool];
        self.counters[pool].get_or_insert_with(|| Counters::new(of, self.allocator.ledger))
    }
}

/// The name that one of several things has by itself.
fn own_name(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, own)| own)
}

/// Whether a device has a taint that keeps it from being given away and that the request does not bear.
fn has_taint(device: &Device, choice: &Choice<'_>) -> bool {
    let taints = device.taints.iter().flatten();
    let mut keeping = taints.filter(|taint| matches!(taint.effect.as_str(), "NoExecute" | "NoSchedule"));
    keeping.any(|taint| !choice.tolerations.iter().any(|toleration| tolerates_device(toleration, taint)))
}
