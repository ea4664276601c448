"""The strongest public tools and ours on one workload against one provider stand-in, in one table."""
