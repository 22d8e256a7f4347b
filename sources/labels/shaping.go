package labels

// How requests and answers are changed.
var shapingLabels = []Label{}
