/* report_page.h: the page of --html, without its data; made from cli/page at build time. */
#ifndef HAK_CLI_REPORT_PAGE_H
#define HAK_CLI_REPORT_PAGE_H

#include <stddef.h>

extern const unsigned char report_page_head[];
extern const size_t report_page_head_bytes;
extern const unsigned char report_page_tail[];
extern const size_t report_page_tail_bytes;

#endif
