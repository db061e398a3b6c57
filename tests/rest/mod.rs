//! `/rest/v1`, from outside.

mod writes;
