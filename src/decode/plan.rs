//! The plan that an engine carries out.

/// What is generated, phase by phase.
#[derive(Clone, Debug)]
pub struct Plan {}
