package config

// PathsForTest lists the settings' paths.
func PathsForTest() []string {
	var paths []string
	for _, s := range settings() {
		paths = append(paths, s.path)
	}
	return paths
}

// VariablesForTest lists the settings' variables.
func VariablesForTest() []string {
	var names []string
	for _, s := range settings() {
		names = append(names, s.env())
	}
	return names
}
