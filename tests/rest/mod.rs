//! `/rest/v1`, from outside.

mod forms;
mod writes;
