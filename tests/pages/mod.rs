//! Pages that are made from what the program knows of itself.
