//! Units that are billed otherwise than by tokens: as the service names them, else as request and response show
//! them.

use super::billing::Billing;
use super::call::Meter;
use super::ending::Ending;
use super::read::SeenMedia;
use crate::usage::Units;

impl Meter {
    pub(super) fn units(&self, ending: Option<Ending>) -> Units {
        let (api, response) = (self.draft.target.api, &self.body.response);
        if self.blind || !self.reports() {
            return Units::default();
        }
        let mut units = response.facts.charged.units(response.is_whole_success());
        units.video_ms = self.video_ms();
        if self.billing(ending) != Billing::Answered {
            return units;
        }
        if api.makes_images() {
            units.images = units.images.or_else(|| self.images());
        }
        if api.is_heard() {
            units.audio_ms = units.audio_ms.or_else(|| self.duration_ms());
            // They are billed when they are sent, whatever comes of it.
            units.characters = self.facts.input_characters;
        }
        units
    }

    /// Images that came: results of a stream, or entries of a whole document.
    fn images(&self) -> Option<u64> {
        let results = self.body.response.facts.results;
        if results > 0 { Some(results) } else { self.whole_media()?.entries }
    }

    /// How long the sound is that was heard, where the document says that in place of a usage.
    fn duration_ms(&self) -> Option<u64> {
        let media = self.whole_media()?;
        media.duration_ms.filter(|_| self.reported().is_none())
    }

    fn whole_media(&self) -> Option<&SeenMedia> {
        let response = &self.body.response;
        response.reader.media().filter(|_| response.is_whole_success())
    }
}
