//! Which partition holds a series, and which group its rows.

use std::borrow::Cow;
use std::sync::Arc;

use wire::batch::Group as Rows;
use wire::dict::{DictHash, Dictionary, SeriesId};
use wire::labels::{DEVICE_ID, RingHasher};
use wire::{DeviceName, Labels, Tenant};

use super::layout::{GroupLayout, Part};
use super::{Heads, Writer};
use crate::ledger::DeviceRef;
use crate::results::OWNER;
use crate::rings::{RESULTS, Route};

/// A label set as it is stored: that of a dictionary with `device_id` set, without a copy in the common case.
enum Stored<'a> {
    Added(&'a Labels, usize, &'a str),
    Given(Cow<'a, Labels>),
}

impl<'a> Stored<'a> {
    fn of_device(set: &'a Labels, id: &'a str) -> Self {
        let next = set.iter().enumerate().find(|(_, (name, _))| *name >= DEVICE_ID);
        match next {
            Some((_, (DEVICE_ID, _))) => Stored::Given(Cow::Owned(set.of_device(id))),
            next => Stored::Added(set, next.map_or(set.len(), |(at, _)| at), id),
        }
    }

    /// With the external labels of its ring.
    fn completed(self, route: &Route) -> Self {
        if !route.has_external_labels() {
            return self;
        }
        let set = match self {
            Stored::Added(set, _, id) => set.with(DEVICE_ID, id),
            Stored::Given(set) => set.into_owned(),
        };
        Stored::Given(Cow::Owned(route.stored(set)))
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let (set, before, own) = match self {
            Stored::Added(set, at, id) => (*set, *at, Some((DEVICE_ID, *id))),
            Stored::Given(set) => (&**set, 0, None),
        };
        With {
            pairs: set.iter(),
            before,
            own,
        }
    }
}

/// The pairs of a set, and one more after so many of them.
struct With<'a, P> {
    pairs: P,
    before: usize,
    own: Option<(&'a str, &'a str)>,
}

impl<'a, P: Iterator<Item = (&'a str, &'a str)>> Iterator for With<'a, P> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.own.is_some() {
            if self.before == 0 {
                return self.own.take();
            }
            self.before -= 1;
        }
        self.pairs.next()
    }
}

impl Heads {
    /// The layout of a group, made and kept if there is none; `None` if there is none and no dictionary to make it of.
    pub(super) fn layout(
        &self,
        writer: &mut Writer,
        (number, device): (DeviceRef, &DeviceName),
        (hash, ring, now_ms): (DictHash, u32, i64),
        group: &Rows,
        dict: Option<&Dictionary>,
    ) -> Option<Arc<GroupLayout>> {
        if let Some(layouts) = writer.layouts.get_mut(device)
            && let Some(layout) = layouts.touch(hash, ring, &group.series, now_ms)
        {
            return Some(layout);
        }
        let sets = stored(&group.series, dict?, device)?;
        // A generation that the journal lost routes as the rings of now; queries find series anywhere.
        let routing = self.rings.of(ring).unwrap_or_else(|| self.rings.current());
        let route = routing.of(device.tenant());
        let parts = self.place(
            device.tenant(),
            Some(number),
            placed(route, device.tenant(), sets),
        );
        let layouts = match writer.layouts.get_mut(device) {
            Some(layouts) => layouts,
            None => writer.layouts.entry(device.clone()).or_default(),
        };
        let layout = GroupLayout::new(hash, ring, parts);
        Some(layouts.insert(layout, group.series.clone(), now_ms))
    }

    /// Registers series with their partitions and finds or makes the groups that hold their rows.
    fn place<'a>(
        &self,
        tenant: &Tenant,
        owner: Option<DeviceRef>,
        sets: impl Iterator<Item = (usize, Stored<'a>)>,
    ) -> Vec<Part> {
        let (mut order, sets): (Vec<(usize, u32)>, Vec<Stored<'_>>) = (0..)
            .zip(sets)
            .map(|(position, (place, set))| ((place, position), set))
            .unzip();
        order.sort_unstable();
        let mut parts = Vec::new();
        for of_place in order.chunk_by(|a, b| a.0 == b.0) {
            let place = of_place[0].0;
            let sets = of_place
                .iter()
                .map(|(_, position)| (*position, sets[*position as usize].pairs()));
            self.write(place)
                .head(tenant)
                .place(owner, sets, |group, positions| {
                    parts.push(Part::new(place, group, positions));
                });
        }
        parts
    }

    /// The places of a row of the bridge's own series.
    pub(super) fn place_own(&self, tenant: &Tenant, row: &[(Labels, f64)]) -> Vec<Part> {
        let routing = self.rings.current();
        let route = routing.of(tenant);
        // The labels stand as given: without the ring's external ones.
        let place = |(set, _): &'_ (Labels, f64)| route.place(set.ring_hash(tenant));
        let sets = row
            .iter()
            .map(|own| (place(own), Stored::Given(Cow::Borrowed(&own.0))));
        self.place(tenant, None, sets)
    }

    /// The places of a list of results.
    pub(super) fn place_results(&self, tenant: &Tenant, series: &[Labels]) -> Vec<Part> {
        let place = self.rings.partition(RESULTS);
        let sets = series
            .iter()
            .map(|set| (place, Stored::Given(Cow::Borrowed(set))));
        self.place(tenant, Some(OWNER), sets)
    }

    /// How many of some series of a dictionary are not among those of their device that the heads hold.
    pub(crate) fn new_series(&self, device: &DeviceName, series: &[SeriesId], dict: &Dictionary) -> usize {
        let Some(sets) = stored(series, dict, device) else {
            return 0;
        };
        let tenant = device.tenant();
        let routing = self.rings.current();
        let is_new = |(place, set): &(usize, Stored<'_>)| {
            let partition = self.read(*place);
            let head = partition.tenants.get(tenant);
            !head.is_some_and(|head| head.is_active(set.pairs()))
        };
        placed(routing.of(tenant), tenant, sets).filter(is_new).count()
    }
}

/// Label sets with their partitions, as the ring has them stored.
fn placed<'a>(
    route: &Route,
    tenant: &Tenant,
    sets: Vec<Stored<'a>>,
) -> impl Iterator<Item = (usize, Stored<'a>)> {
    let mut hasher = RingHasher::new(tenant);
    sets.into_iter().map(move |set| {
        let place = route.place(hasher.hash(set.pairs()));
        (place, set.completed(route))
    })
}

fn stored<'a>(series: &[SeriesId], dict: &'a Dictionary, device: &'a DeviceName) -> Option<Vec<Stored<'a>>> {
    let id = device.device().as_str();
    let sets = series.iter().map(|series| dict.get(*series));
    sets.map(|set| set.map(|set| Stored::of_device(set, id)))
        .collect()
}
