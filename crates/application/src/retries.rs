//! When what failed is tried again.

use std::time::Duration;

/// Pauses before each further attempt, in seconds. After them, always the last.
pub(crate) struct Schedule(pub(crate) &'static [u32]);

impl Schedule {
    /// How long to wait after so many attempts: as the schedule says, a fifth more or less by `random` (from 0 to 1), or
    /// longer if the receiver asks for it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hours, in seconds")]
    pub(crate) fn pause_secs(&self, attempts: u32, asked: Option<Duration>, random: f64) -> u32 {
        let place = usize::try_from(attempts).unwrap_or(usize::MAX).saturating_sub(1);
        let usual = self.0.get(place).or(self.0.last()).copied().unwrap_or_default();
        let spread = (f64::from(usual) * (0.8 + 0.4 * random)).round() as u32;
        let asked = asked.map_or(0, |asked| u32::try_from(asked.as_secs()).unwrap_or(u32::MAX));
        spread.max(asked)
    }
}
