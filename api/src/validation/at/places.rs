//! Which places in the sources read a field of a known type: what the test of names asks for.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::Location;

/// The file below `src`, the line and the column of a call.
pub(crate) type Place = (&'static str, u32, u32);

thread_local! {
    static REACHED: RefCell<Option<BTreeSet<Place>>> = const { RefCell::new(None) };
}

/// A place was reached, with the type known.
pub(crate) fn reached(place: &'static Location<'static>) {
    REACHED.with_borrow_mut(|reached| {
        let Some(reached) = reached else { return };
        let file = place.file().rsplit_once("src/").map_or(place.file(), |(_, file)| file);
        reached.insert((file, place.line(), place.column()));
    });
}

/// The places that this thread reaches while `run` runs.
pub(crate) fn reached_by(run: impl FnOnce()) -> BTreeSet<Place> {
    REACHED.set(Some(BTreeSet::new()));
    run();
    REACHED.take().unwrap_or_default()
}
