//! The broker: partitions of records that producers append to and consumers read.
