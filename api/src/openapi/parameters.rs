//! The query and path parameters that operations share.

/// Name, type and description of each.
const PARAMETERS: [(&str, &str, &str); 37] = [
    ("command", "string", "One word of the command to run in the container."),
    ("container", "string", "The container; the only one if none is named."),
    ("follow", "boolean", "The log goes on as it is written."),
    ("insecureSkipTLSVerifyBackend", "boolean", "The certificate of the node is not verified."),
    ("limitBytes", "integer", "The most bytes of the log that are sent."),
    ("ports", "integer", "The ports to forward, over a WebSocket."),
    ("previous", "boolean", "The log of the container that ran before."),
    ("sinceSeconds", "integer", "The log of so many seconds before now."),
    ("stderr", "boolean", "Whether the standard error of the command is sent."),
    ("stdin", "boolean", "Whether the command gets an input."),
    ("stdout", "boolean", "Whether the standard output of the command is sent."),
    ("stream", "string", "Which of the container's streams the log is of: All, Stdout or Stderr."),
    ("tailLines", "integer", "How many lines before the end the log begins."),
    ("timestamps", "boolean", "Each line begins with its time."),
    ("tty", "boolean", "The command gets a terminal."),
    ("allowWatchBookmarks", "boolean", "Asks a watch to send events of type BOOKMARK now and then."),
    ("continue", "string", "The token with which the previous answer said that the list goes on."),
    ("dryRun", "string", "Nothing is persisted; the only value is All."),
    ("fieldManager", "string", "The name of who makes the change, at most 128 printable characters."),
    ("fieldSelector", "string", "Restricts the list to objects with these values of fields."),
    (
        "fieldValidation",
        "string",
        "What happens to fields that are unknown or given twice: Ignore drops them, Warn (the default) drops them and \
         warns, Strict refuses the request.",
    ),
    ("force", "boolean", "Lets an apply take over fields that other managers own."),
    ("gracePeriodSeconds", "integer", "The seconds before the object is deleted; zero deletes at once."),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Deletes an object that cannot be read from the store, without its finalizers and preconditions.",
    ),
    ("labelSelector", "string", "Restricts the list to objects with these labels."),
    ("limit", "integer", "The most items that one answer has."),
    ("name", "string", "The name of the object."),
    ("namespace", "string", "The namespace of the object."),
    ("orphanDependents", "boolean", "Deprecated in favour of propagationPolicy."),
    ("path", "string", "What lies below the thing that is proxied to."),
    ("pretty", "string", "If true, the answer is printed with line breaks."),
    ("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
    ("resourceVersion", "string", "The resource version that the answer must be at or after."),
    ("resourceVersionMatch", "string", "How resourceVersion is applied to a list: Exact or NotOlderThan."),
    ("sendInitialEvents", "boolean", "Lets a watch begin with events for all objects, ended by a bookmark."),
    (
        "shardSelector",
        "string",
        "Would restrict the list to objects whose hash is in a range; as in a cluster without the feature \
         ShardedListAndWatch it has no effect.",
    ),
    ("timeoutSeconds", "integer", "The seconds after which the call ends."),
];

/// Type and description of a parameter.
pub(super) fn describe(name: &str) -> (&'static str, &'static str) {
    if name == "watch" {
        return ("boolean", "Sends changes as they happen, from resourceVersion on, instead of a list.");
    }
    let found = PARAMETERS.iter().find(|(other, _, _)| *other == name);
    found.map_or(("string", ""), |(_, kind, description)| (kind, description))
}
