-- By which rule the literals of a template go with its values: 1, that of the versions before this column, or 2, by which a label goes with its own value.
-- Templates of which both rules make the same texts have 1. A generation keeps its rule.
ALTER TABLE {{.Schema}}.generation
    ADD COLUMN template_rule integer NOT NULL DEFAULT 1 CHECK (template_rule > 0);
