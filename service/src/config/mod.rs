//! Settings: embedded, commented defaults → file → environment → flags → one validated struct.
//!
//! Everything that is wrong is reported at once, by key path and origin, with secrets masked.
//!
//! ```text
//!  default.toml ─▶ --config FILE ─▶ ASYNCFLOW_BROKER__LISTEN__ADDRESS ─▶ --set listen.address=…
//!  (later layers win)                                    │
//!                       unknown keys, bad values, broken rules ─▶ ConfigErrors (exit 2)
//! ```

mod errors;
mod load;
mod mask;
mod rules;
mod sections;
mod sources;

pub use errors::{ConfigErrors, Violation};
pub use load::load;
pub use mask::{mask_urls, show};
pub use rules::{Rules, Validate};
pub use sections::{AuthConfig, ListenConfig, LogConfig, LogFormat, MetricsConfig, TlsConfig};
pub use sources::Sources;
