// A Gopher server (RFC 1436) as a guest of multiclient: another protocol, another language, the same host.
//
// A client sends one line, the selector. The response is a file, whose bytes never come in here, or a menu of
// what is in a folder, which is read and sent in portions. Then the connection ends. Nothing is imported.

#include <stdlib.h>
#include <string.h>

#include "guest.h"

// The generated names say the interface, too.
#define OF(name) exports_multiclient_session_handler_##name
#define ON(name) EXPORTS_MULTICLIENT_SESSION_HANDLER_EVENT_##name
#define TO(name) EXPORTS_MULTICLIENT_SESSION_HANDLER_ACTION_##name

enum {
    SELECTOR_LIMIT = 255, // RFC 1436, section 3.9.
    PORTION = 256,        // Entries of a folder to ask for at once: less than 200 KiB of the longest names.
    SEND_LIMIT = 64 << 10,
};

struct OF(session_t) {
    char selector[SELECTOR_LIMIT + 2]; // And its line end.
    size_t length;
};

// Memory. Where there is none this client ends: address 0 is as good as any other here, and writing to it
// would not.
static void *take(void *old, size_t size) {
    void *memory = realloc(old, size);
    if (!memory) __builtin_trap();
    return memory;
}

OF(own_session_t) OF(constructor_session)(OF(settings_t) * settings) {
    OF(settings_free)(settings);
    return OF(session_new)(memset(take(NULL, sizeof(OF(session_t))), 0, sizeof(OF(session_t))));
}

void OF(session_destructor)(OF(session_t) * session) { free(session); }

// A further action. What is in it is freed by the bindings, when the host has read it.
static OF(action_t) * add(OF(list_action_t) * list, uint8_t tag) {
    list->ptr = take(list->ptr, (list->len + 1) * sizeof *list->ptr);
    OF(action_t) *action = memset(&list->ptr[list->len++], 0, sizeof *list->ptr);
    action->tag = tag;
    return action;
}

static void send(OF(list_action_t) * list, const char *bytes, size_t length) {
    uint8_t *copy = memcpy(take(NULL, length), bytes, length);
    add(list, TO(SEND))->val.send = (guest_list_u8_t){copy, length};
}

static OF(name_t) name(const void *bytes, size_t length) {
    // One byte more: where there is none, nothing would have to be allocated.
    return (OF(name_t)){memcpy(take(NULL, length + 1), bytes, length), length};
}

// Asks for what is in the folder, after this entry. None: from the beginning.
static void ask_for_portion(OF(list_action_t) * list, const OF(session_t) * session, const OF(entry_t) * last) {
    OF(portion_t) *portion = &add(list, TO(LIST))->val.list;
    portion->folder = name(session->selector, session->length);
    portion->after = last ? name(last->name.ptr, last->name.len) : name("", 0);
    portion->limit = PORTION;
}

// Reports the result, for the log, and disconnects.
static void end(OF(list_action_t) * list, const OF(session_t) * session, uint16_t status) {
    OF(exchange_t) *exchange = &add(list, TO(REPORT))->val.report;
    guest_string_dup_n(&exchange->request, session->selector, session->length);
    exchange->status = status;
    add(list, TO(CLOSE))->val.close = EXPORTS_MULTICLIENT_SESSION_HANDLER_REMAINDER_UNREAD;
}

static void refuse(OF(list_action_t) * list, const OF(session_t) * session) {
    static const char text[] = "3There is nothing of that name\t\terror.host\t1\r\n.\r\n";
    send(list, text, sizeof text - 1);
    end(list, session, 404);
}

static char *put(char *at, const void *bytes, size_t length) { return (char *)memcpy(at, bytes, length) + length; }

// A line for each entry: its kind and name, and the selector that leads there. A client asks the server that
// sent it, whatever host and port the line has.
static void menu(OF(list_action_t) * list, const OF(session_t) * session, const OF(listing_t) * listing) {
    const OF(list_entry_t) *entries = &listing->entries;
    char *text = take(NULL, SEND_LIMIT), *at = text;
    for (size_t i = 0; i < entries->len; i++) {
        const OF(entry_t) *entry = &entries->ptr[i];
        if (at - text > SEND_LIMIT - 1024) {
            send(list, text, at - text);
            at = text;
        }
        at = put(at, entry->folder ? "1" : "9", 1);
        at = put(at, entry->name.ptr, entry->name.len);
        at = put(at, "\t/", 2);
        at = put(at, session->selector, session->length);
        at = put(at, "/", session->length > 0);
        at = put(at, entry->name.ptr, entry->name.len);
        at = put(at, "\t+\t70\r\n", 7);
    }
    if (listing->complete) at = put(at, ".\r\n", 3);
    if (at > text) send(list, text, at - text);
    free(text);
    if (listing->complete) end(list, session, 200);
    else if (entries->len) ask_for_portion(list, session, &entries->ptr[entries->len - 1]);
    else __builtin_trap(); // Never: a portion is empty only at the end.
}

// Takes bytes until the line is there.
static void read(OF(list_action_t) * list, OF(session_t) * session, const guest_list_u8_t *bytes) {
    size_t room = sizeof session->selector - session->length;
    size_t count = bytes->len < room ? bytes->len : room;
    memcpy(session->selector + session->length, bytes->ptr, count);
    session->length += count;
    char *line_end = memchr(session->selector, '\n', session->length);
    if (!line_end && session->length < sizeof session->selector) {
        // In the middle of the only request that there will be.
        add(list, TO(RECEIVE))->val.receive = EXPORTS_MULTICLIENT_SESSION_HANDLER_PHASE_PARTIAL;
        return;
    }
    session->length = line_end ? line_end - session->selector : 0;
    while (session->length && strchr("\r/", session->selector[session->length - 1])) session->length--;
    if (session->length && session->selector[0] == '/') {
        memmove(session->selector, session->selector + 1, --session->length);
    }
#ifdef FAULTS // For the test of what becomes of a guest that goes wrong.
    session->selector[session->length] = 0;
    for (volatile int spins = 1; spins && !strcmp(session->selector, "!spin");) {}
    // Volatile, or the compiler sees that nobody wants the memory and takes none.
    for (void *volatile lost; !strcmp(session->selector, "!leak");) lost = take(NULL, SEND_LIMIT), (void)lost;
#endif
    if (line_end) add(list, TO(OPEN))->val.open = name(session->selector, session->length);
    else refuse(list, session);
}

void OF(method_session_advance)(OF(session_t) * session, OF(instant_t) now, OF(event_t) * event,
                                OF(list_action_t) * list) {
    (void)now;
    *list = (OF(list_action_t)){0};
    if (event->tag == ON(RECEIVED)) {
        read(list, session, &event->val.received);
    } else if (event->tag == ON(OPENED) && !event->val.opened.is_err) {
        const OF(found_t) *found = &event->val.opened.val.ok;
        if (found->tag == EXPORTS_MULTICLIENT_SESSION_HANDLER_FOUND_FOLDER) {
            ask_for_portion(list, session, NULL);
        } else { // What is there now. For what is still to come, a client needs a server that speaks HTTP.
            const OF(window_t) *window = &found->val.source.window;
            add(list, TO(PASS))->val.pass = (OF(span_t)){window->start, window->end - window->start};
            end(list, session, 200);
        }
    } else if (event->tag == ON(LISTED) && !event->val.listed.is_err) {
        menu(list, session, &event->val.listed.val.ok);
    } else if (event->tag == ON(OPENED) || event->tag == ON(LISTED)) {
        refuse(list, session);
    } else { // The client has disconnected, or the server stops.
        add(list, TO(CLOSE))->val.close = EXPORTS_MULTICLIENT_SESSION_HANDLER_REMAINDER_NOTHING;
    }
    OF(event_free)(event);
}
