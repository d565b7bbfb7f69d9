/* session_text.c: text that peers send: names, for people and for topics. Pure. */
#include "broker/core/session_internal.h"

/* The length of the UTF-8 character at `text`, 0 if there is none (RFC 3629; no surrogates, nothing overlong). */
static size_t utf8_length(const unsigned char *text)
{
    static const struct {
        unsigned char first_min, first_max, second_min, second_max, length;
    } forms[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
                 {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                 {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    if (text[0] < 0x80)
        return 1;
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        if (text[0] < forms[i].first_min || text[0] > forms[i].first_max)
            continue;
        if (text[1] < forms[i].second_min || text[1] > forms[i].second_max)
            return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if ((text[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

bool text_valid(const char *text, size_t size_max)
{
    size_t size = strlen(text);
    if (size == 0 || size > size_max)
        return false;
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t length = utf8_length(at);
        if (length == 0 || *at < 0x20 || *at == 0x7f)
            return false;
        at += length;
    }
    return true;
}
