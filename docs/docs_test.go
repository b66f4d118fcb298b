// Package docs_test keeps the documents true to the code.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = ".."

// MustFind returns the files below the repository's root whose names end with suffix.
func MustFind(t *testing.T, suffix string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "data") {
			return filepath.SkipDir
		}
		if !entry.IsDir() && strings.HasSuffix(name, suffix) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func MustRead(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Ensure the map names every package.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	text := MustRead(t, "architecture.md")
	for _, pattern := range []string{"cmd/*", "internal/*"} {
		dirs, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range dirs {
			name, err := filepath.Rel(root, dir)
			if err != nil {
				t.Fatal(err)
			}
			if sources, _ := filepath.Glob(filepath.Join(dir, "*.go")); len(sources) == 0 {
				continue
			}
			if !strings.Contains(text, "`"+filepath.ToSlash(name)+"`") {
				t.Errorf("docs/architecture.md does not name %s", name)
			}
		}
	}
}

var (
	citation  = regexp.MustCompile(`[pP]rotocol (0\d,? (?:(?:and |traps? |checklist |[§T]?[\d.]+(?:[–-]§?[\d.]+)?),? ?)+)`)
	token     = regexp.MustCompile(`\b(0\d)\b|§(\d+)|(?:trap T?|\bT)(\d+)`)
	headings  = regexp.MustCompile(`(?m)^## (.*)`)
	rangeMark = regexp.MustCompile(`§(\d+)–§(\d+)`)
)

// Ensure what comments cite is there: protocol 02 §7 is a section of page 02, T9 a trap of page 01.
func TestCitationsResolve(t *testing.T) {
	pages := map[string]string{}
	for _, path := range MustFind(t, ".md") {
		if filepath.Base(filepath.Dir(path)) == "protocol" {
			pages[filepath.Base(path)[:2]] = MustRead(t, path)
		}
	}
	cited := 0
	for _, path := range append(MustFind(t, ".go"), append(MustFind(t, ".sql"), MustFind(t, ".mjs")...)...) {
		// A citation may be broken over two lines of a comment.
		text := regexp.MustCompile(`\n\s*(//|--|\*) ?`).ReplaceAllString(MustRead(t, path), " ")
		for _, match := range citation.FindAllStringSubmatch(text, -1) {
			page := "" // a citation may name several: protocol 01 §6, 02 §21
			for _, part := range token.FindAllStringSubmatch(match[1], -1) {
				cited++
				switch {
				case part[1] != "":
					page = part[1]
					if pages[page] == "" {
						t.Errorf("%s cites %q: there is no page %s", path, match[0], page)
					}
				case part[2] != "" && !hasSection(pages[page], part[2]):
					t.Errorf("%s cites %q: page %s has no §%s", path, strings.TrimSpace(match[0]), page, part[2])
				case part[3] != "" && !hasTrap(pages[page], part[3]):
					t.Errorf("%s cites %q: page %s has no trap %s", path, strings.TrimSpace(match[0]), page, part[3])
				}
			}
		}
	}
	if cited < 50 {
		t.Errorf("found only %d citations: the pattern is wrong", cited)
	}
}

func hasTrap(page, number string) bool {
	return strings.Contains(page, "**T"+number+"**") || strings.Contains(page, "\n"+number+". ")
}

// hasSection reports whether a heading of the page has that number, alone or in a range.
func hasSection(page, number string) bool {
	for _, heading := range headings.FindAllStringSubmatch(page, -1) {
		if strings.HasPrefix(heading[1], "§"+number+" ") {
			return true
		}
		if ends := rangeMark.FindStringSubmatch(heading[1]); ends != nil && (ends[1] == number || ends[2] == number) {
			return true
		}
	}
	return false
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

// Ensure links between documents lead somewhere. The page that acceptance runs write may not exist yet.
func TestLinks(t *testing.T) {
	for _, path := range MustFind(t, ".md") {
		for _, match := range link.FindAllStringSubmatch(MustRead(t, path), -1) {
			target := filepath.Join(filepath.Dir(path), match[1])
			if _, err := os.Stat(target); err != nil && filepath.Base(target) != "compatibility.md" {
				t.Errorf("%s links to %s, which does not exist", path, match[1])
			}
		}
	}
}
