//! Pages of long lists.

use crate::Invalid;

/// Which page, counted from 1: 1–1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageNumber(u32);

impl PageNumber {
    /// The last page that can be asked for.
    pub const MAX: u32 = 1_000_000;
    /// The first page.
    pub const FIRST: Self = Self(1);

    /// The page of this number.
    pub fn new(number: u64) -> Result<Self, Invalid> {
        within(number, Self::MAX).map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// How many rows a page has at most: 1–`MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageSize<const MAX: u32>(u32);

impl<const MAX: u32> PageSize<MAX> {
    /// A page of this many rows.
    pub fn new(rows: u64) -> Result<Self, Invalid> {
        within(rows, MAX).map(Self)
    }

    /// The number of rows.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// One page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageRequest {
    /// Which page, from 1.
    pub number: u32,
    /// How many rows at most.
    pub size: u32,
}

impl PageRequest {
    /// The page of this number and size.
    pub fn new<const MAX: u32>(number: PageNumber, size: PageSize<MAX>) -> Self {
        Self { number: number.get(), size: size.get() }
    }

    /// How many rows stand before the page.
    pub fn offset(self) -> u64 {
        u64::from(self.number - 1) * u64::from(self.size)
    }

    /// The number of the last page of a list with `total` rows; 1 for an empty list.
    pub fn last(self, total: u64) -> u64 {
        total.div_ceil(u64::from(self.size)).max(1)
    }
}

/// The rows of one page, and how many the whole list has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in order.
    pub rows: Vec<T>,
    /// The number of rows on all pages together.
    pub total: u64,
}

fn within(number: u64, max: u32) -> Result<u32, Invalid> {
    u32::try_from(number)
        .ok()
        .filter(|number| (1..=max).contains(number))
        .ok_or(Invalid::OutOfRange { min: 1, max: u64::from(max) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_outside_its_bounds_is_refused_not_clamped() {
        assert!(PageSize::<100>::new(100).is_ok());
        assert_eq!(PageSize::<100>::new(101), Err(Invalid::OutOfRange { min: 1, max: 100 }));
        assert_eq!(PageNumber::new(0), Err(Invalid::OutOfRange { min: 1, max: 1_000_000 }));
        assert!(PageNumber::new(u64::MAX).is_err());
    }

    #[test]
    fn the_last_page_holds_the_last_row() {
        let page = PageRequest { number: 3, size: 10 };
        assert_eq!(page.offset(), 20);
        assert_eq!((page.last(0), page.last(10), page.last(11)), (1, 1, 2));
    }
}
