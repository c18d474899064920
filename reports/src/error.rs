//! What can go wrong between a report's data and its pages.

use thiserror::Error;

/// Why a picture or page could not be made.
#[derive(Debug, Error)]
pub enum Error {
    /// The data holds nothing the picture could show; a page says so in the picture's place.
    #[error("nothing to draw: {needs}")]
    NothingToDraw {
        /// What the picture would need, a sentence.
        needs: &'static str,
    },
    /// The drawing back-end failed.
    #[error("drawing `{figure}` failed: {reason}")]
    Draw {
        /// The figure's title.
        figure: String,
        /// What the back-end reported.
        reason: String,
    },
    /// The page's template failed.
    #[error("rendering the page failed: {0}")]
    Template(#[from] askama::Error),
}
