//! The week page, on which a person plays the owner.
