package config_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"imserver/internal/config"
)

// Ensure documents and deployment name no variable that sets nothing.
func TestDocumentsNameRealVariables(t *testing.T) {
	known := append(config.VariablesForTest(), "IMSERVER_CONFIG", "IMSERVER_APPS")
	name := regexp.MustCompile(`IMSERVER_[A-Z][A-Z_]*[A-Z]`)
	for _, path := range []string{"../../README.md", "../../docs/architecture.md", "../../Dockerfile", "../../docker-compose.yml", sample} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, variable := range name.FindAllString(string(text), -1) {
			if !slices.Contains(known, variable) {
				t.Errorf("%s names %s, which sets nothing", path, variable)
			}
		}
	}
}
