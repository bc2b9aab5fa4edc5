//! What threads share: the standard library's, or, for tests that try the orders in which threads can run, those of a model
//! checker with the same names.

#[cfg(all(test, feature = "shuttle"))]
pub(crate) use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak, mpsc};
#[cfg(not(all(test, feature = "shuttle")))]
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak, mpsc};
