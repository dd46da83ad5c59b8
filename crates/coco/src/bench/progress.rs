//! A progress bar on standard error, hidden when that is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of `total` steps of what `label` says.
pub fn bar(total: u64, label: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>10} {bar:40} {pos}/{len} {per_sec} {elapsed}");
    let style = style.expect("the template is well-formed");
    ProgressBar::new(total).with_style(style).with_message(label.to_owned())
}
