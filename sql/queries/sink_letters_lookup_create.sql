CREATE INDEX {{.LettersLookup}} ON {{.Letters}} USING hash (key)
