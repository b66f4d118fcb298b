package config

// PathsForTest lists the settings' paths.
func PathsForTest() []string {
	var paths []string
	for _, s := range settings() {
		paths = append(paths, s.path)
	}
	return paths
}
