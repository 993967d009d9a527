//! Things in places that are used again.

/// A place that is used again when a name was forgotten; the generation tells both names apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    index: u32,
    generation: u32,
}

/// Things in places.
#[derive(Debug)]
pub(super) struct Places<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    most: usize,
}

impl<T> Places<T> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            most,
        }
    }

    pub(super) fn add(&mut self, thing: T) -> Option<Place> {
        if let Some(index) = self.free.pop() {
            let (generation, slot) = self.slots.get_mut(index as usize)?;
            *slot = Some(thing);
            let generation = *generation;
            return Some(Place { index, generation });
        }
        if self.slots.len() >= self.most {
            return None;
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push((0, Some(thing)));
        Some(Place {
            index,
            generation: 0,
        })
    }

    pub(super) fn get(&self, place: Place) -> Option<&T> {
        let (generation, thing) = self.slots.get(place.index as usize)?;
        (*generation == place.generation).then_some(thing.as_ref())?
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        let (generation, thing) = self.slots.get_mut(place.index as usize)?;
        (*generation == place.generation).then_some(thing.as_mut())?
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<T> {
        let (generation, thing) = self.slots.get_mut(place.index as usize)?;
        if *generation != place.generation {
            return None;
        }
        let thing = thing.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(place.index);
        Some(thing)
    }

    /// Whether every place was used at least once.
    pub(super) fn is_worn(&self) -> bool {
        self.slots.len() >= self.most
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots
            .iter_mut()
            .filter_map(|(_, thing)| thing.as_mut())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Place, &T)> {
        (0..)
            .zip(&self.slots)
            .filter_map(|(index, (generation, thing))| {
                let generation = *generation;
                Some((Place { index, generation }, thing.as_ref()?))
            })
    }
}
