//! Plots: one file a plot, each from a report to the text of an SVG picture.
//!
//! Every picture names itself for screen readers, follows the reader's light or dark theme, needs no font file and
//! nothing from outside. Where a report holds nothing to show, the plot is
//! [`Error::NothingToDraw`](crate::Error::NothingToDraw) with what it would need; values that are missing or not
//! finite are left out, never drawn as zero.

mod axis;
mod dodge;
mod expert_load;
mod experts;
mod figure;
mod grid;
mod heatmap;
mod knowledge;
mod legend;
mod marks;
mod methods;
mod palette;
mod panel;
mod pareto;
mod quality;
mod ranking;
mod reliability;
mod scale;
mod scores;
mod training;
mod trend;

pub use expert_load::expert_load_svg;
pub(crate) use experts::{FEW, MANY, range};
pub use experts::{co_activation_svg, domains_svg, load_svg, similarity_svg};
pub use heatmap::HeatMap;
pub use knowledge::{KnowledgeAxis, knowledge_svg};
pub use methods::methods_svg;
pub use quality::{Cost, quality_curve_svg, quality_svg};
pub(crate) use ranking::BASELINE;
pub use reliability::reliability_svg;
pub use scale::{Numbers, Scale};
pub use scores::{risk_coverage_svg, roc_svg};
pub use training::training_svg;
pub use trend::{Trend, trend_svg};
