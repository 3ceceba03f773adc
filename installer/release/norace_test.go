//go:build !race

package release

const raceDetector = false
