package labels

// How much clients may ask for.
var requestLimitLabels = []Label{}
